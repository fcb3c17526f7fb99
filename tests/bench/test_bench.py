"""The benchmark runs, and says what it promises. How fast anything is, is not a test's to judge."""

import json
import subprocess
import sys

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
