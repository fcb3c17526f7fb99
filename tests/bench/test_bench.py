"""The benchmark runs, and says what it promises. How fast anything is, is not a test's to judge."""

import json
import subprocess
import sys
from typing import Any

import pytest


def quick(module: str, *arguments: str) -> dict[str, Any]:
    """What a benchmark prints, at the size that only tells whether it runs."""
    command = [sys.executable, "-m", module, "--quick", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
def test_the_benchmark_prints_its_ratios() -> None:
    found = quick("tests.bench")
    assert found["size"] == "quick"
    for ratio in (found["turn"]["c1"], found["turn"]["c16"], found["turn1000"]["c1"]):
        assert 0.1 < ratio["cpuRatioToRaw"] < 1000
        assert ratio["p95Ms"] >= ratio["p50Ms"] > 0
    assert found["read"]["conversations"] == 50  # as many as were written: no turn has added its own yet
    assert found["read"]["list"]["bytes"] > 1000
    assert found["read"]["open"]["bytes"] > 1000


@pytest.mark.slow
def test_the_comparison_of_revisions_prints_a_ratio_and_its_spread_for_each_figure() -> None:
    figures = quick("tests.bench.compare", "HEAD")["figures"]
    assert figures.keys() == {"health", "open", "list", "turn1000", "turn c1", "turn c16"}
    for leg in figures.values():
        for figure in (leg["cpu"], leg["p50"], leg["p95"]):
            low, high = figure["spread"]
            assert 0.05 < low <= figure["ratio"] <= high < 20
            assert figure["baseMs"] > 0


@pytest.mark.slow
def test_the_benchmark_of_streams_prints_its_ratios() -> None:
    found = quick("tests.bench.streams")
    assert found["size"] == "quick"
    for leg, deltas in (("paced", 50), ("burst", 500)):
        assert found[leg]["raw"]["deltasPerCoreSecond"] > 0
        for over in ("ws", "sse"):
            assert 0.01 < found[leg][over]["cpuRatioToRaw"] < 1000
            assert found[leg][over]["complete"] == found[leg][over]["streams"]
            assert 1 <= found[leg][over]["deltasPerFrame"] <= deltas
    for lag in (found["fast"]["lag"], found["fast"]["lagWhileAllOpen"], *(leg["lag"] for leg in _many(found))):
        assert lag["p99Ms"] >= lag["p95Ms"] >= lag["p50Ms"] > 0
    for leg in _many(found):
        assert leg["complete"] + leg["vanished"] == leg["storedWhole"] == leg["streams"] == 20
        assert leg["memoryGrowthPerStreamKiB"] >= 0
    assert found["many"]["sqlite"]["vanished"] == 0 < found["many"]["vanishing"]["vanished"]
    assert 0.1 < found["checkpoints"]["cpuRatio"] < 10
    assert all(goal.keys() == {"what", "value", "goal", "met"} for goal in found["goals"])


def _many(found: dict[str, Any]) -> list[dict[str, Any]]:
    return [leg for leg in found["many"].values() if "skipped" not in leg]


@pytest.mark.slow
def test_the_benchmark_of_jobs_prints_its_figures() -> None:
    for figures in quick("tests.bench.jobs").values():
        if "skipped" not in figures:
            assert figures["pickUpMs"]["worst"] >= figures["pickUpMs"]["p95"] > 0
            assert figures["jobsPerSecond"] > 0


@pytest.mark.slow
def test_the_benchmark_of_histories_prints_its_figures() -> None:
    found = quick("tests.bench.histories")
    legs = found["images-10000"]
    assert legs["inline"]["bytes"] > 20 * 13_000 > legs["reference"]["bytes"] > found["text"]["bytes"]
    assert legs["file"]["bytes"] == 10_000
    assert all(leg["p95Ms"] >= leg["p50Ms"] > 0 for leg in (found["text"], *legs.values()))


@pytest.mark.slow
def test_the_benchmark_of_searches_prints_its_figures() -> None:
    found = quick("tests.bench.search")
    for leg in (found["sqlite"], found["postgresql"]):
        if "skipped" not in leg:
            assert all(kind["p95Ms"] >= kind["p50Ms"] > 0 for kind in leg["queries"].values())
            assert leg["queries"]["word"]["answered"] > leg["queries"]["unknownWords"]["answered"] == 0
            assert leg["indexingOneMessage"]["appendedCpuMs"] > 0
            assert leg["foundAfter"]["p95S"] < 30
