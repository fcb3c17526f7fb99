"""The benchmark runs, and says what it promises. How fast anything is, is not a test's to judge."""

import json
import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.slow
def test_the_benchmark_prints_its_ratios() -> None:
    command = [sys.executable, "-m", "tests.bench", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["size"] == "quick"
    for ratio in (found["turn"]["c1"], found["turn"]["c16"], found["turn1000"]["c1"]):
        assert 0.1 < ratio["cpuRatioToRaw"] < 1000
        assert ratio["p95Ms"] >= ratio["p50Ms"] > 0
    assert found["read"]["conversations"] == 50  # as many as were written: no turn has added its own yet
    assert found["read"]["list"]["bytes"] > 1000
    assert found["read"]["open"]["bytes"] > 1000


@pytest.mark.slow
def test_the_benchmark_of_streams_prints_its_ratios() -> None:
    command = [sys.executable, "-m", "tests.bench.streams", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
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
    command = [sys.executable, "-m", "tests.bench.jobs", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    for figures in json.loads(done.stdout).values():
        if "skipped" not in figures:
            assert figures["pickUpMs"]["worst"] >= figures["pickUpMs"]["p95"] > 0
            assert figures["jobsPerSecond"] > 0


@pytest.mark.slow
def test_the_benchmark_of_histories_prints_its_figures() -> None:
    command = [sys.executable, "-m", "tests.bench.histories", "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    legs = found["images-10000"]
    assert legs["inline"]["bytes"] > 20 * 13_000 > legs["reference"]["bytes"] > found["text"]["bytes"]
    assert legs["file"]["bytes"] == 10_000
    assert all(leg["p95Ms"] >= leg["p50Ms"] > 0 for leg in (found["text"], *legs.values()))
