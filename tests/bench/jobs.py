"""`make bench-jobs`: how soon an idle worker begins, and how many jobs it does, as one JSON document on stdout."""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench.load import percentile
from tests.bench.processes import ROOT, cpu_seconds, postgresql
from tests.jobs.conftest import Workshop

GOAL_MS = 100.0


@contextlib.contextmanager
def working(url: str, folder: Path) -> Iterator[tuple[Workshop, subprocess.Popen[str]]]:
    workshop = Workshop(url, folder)
    workshop.run("from django.core.management import call_command; call_command('migrate', verbosity=0)")
    workshop.sql("CREATE TABLE job_effects (number integer NOT NULL)")
    try:
        yield workshop, workshop.work("--concurrency", "8")
    finally:
        workshop.end()


def measure(url: str, folder: Path, jobs: int, many: int) -> dict[str, Any]:
    """All figures on one database.

    1. Enqueue `jobs` at random moments, and read how long each waited for the idle worker.
    2. Measure the CPU of an idle worker for five seconds.
    3. Enqueue `many` at once, and measure until all are done.
    """
    with working(url, folder) as (workshop, worker):
        enqueue = (
            f"import random, time\nfor _ in range({jobs}):\n    time.sleep(random.uniform(0.02, 0.12))\n"
            "    queue.enqueue('stamp', {'asked': time.time()})"
        )
        workshop.run(enqueue)
        workshop.until(lambda: len(workshop.effects()) == jobs)
        waits = sorted(number / 1000 for number in workshop.effects())
        idle = cpu_seconds(worker.pid)
        time.sleep(5)
        idle = (cpu_seconds(worker.pid) - idle) / 5
        workshop.sql("DELETE FROM job_effects")
        workshop.enqueue(many)
        cpu, begun = cpu_seconds(worker.pid), time.perf_counter()
        workshop.until(lambda: workshop.left() == 0)
        wall = time.perf_counter() - begun
        return {
            "pickUpMs": {
                "p50": round(statistics.median(waits), 1),
                "p95": round(percentile(waits, 0.95), 1),
                "worst": round(waits[-1], 1),
                "goal": f"p95 < {GOAL_MS:g}",
                "met": percentile(waits, 0.95) < GOAL_MS,
            },
            "idleShareOfACore": round(idle, 4),
            "jobsPerSecond": round(many / wall),
            "cpuMsPerJob": round((cpu_seconds(worker.pid) - cpu) / many * 1000, 2),
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    jobs, many = (10, 50) if parser.parse_args().quick else (200, 2000)
    os.chdir(ROOT)
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        figures["sqlite"] = measure(f"sqlite:///{folder}/jobs.sqlite3", Path(folder), jobs, many)
        try:
            with postgresql() as url:
                figures["postgresql"] = measure(url, Path(folder), jobs, many)
        except ImportError as error:
            figures["postgresql"] = {"skipped": str(error)}
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
