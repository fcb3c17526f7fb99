"""What a metric records, and what bounds it."""

import subprocess
import sys
from pathlib import Path

from tests.live import ROOT

COUNTING = """
import sys
from bedrock_chat.metrics import instruments, scraping, slots
instruments.MOST_SERIES = 3
early = instruments.Counter("bedrock_chat_early_total", "Early.", ("who",))
early.add("nobody counts yet")
open_here = {("a",): 2.0}
there = instruments.Gauge("bedrock_chat_there", "There.", ("kind",), read=lambda: open_here)
instruments.begin(sys.argv[1])
late = instruments.Histogram("bedrock_chat_late_seconds", "Late.", buckets=(1.0, 2.0))
late.observe(1.5)
for number in range(6):
    early.add(str(number))
instruments.sample()
open_here = {("b",): 1.0}
instruments.sample()
from prometheus_client.multiprocess import MultiProcessCollector
for family in MultiProcessCollector.merge(slots.files(sys.argv[1])):
    for sample in family.samples:
        print(sample.name, *(f"{k}={v}" for k, v in sorted(sample.labels.items())), int(sample.value))
"""


def test_series_are_bounded_and_gauges_that_are_gone_are_zero(tmp_path: Path) -> None:
    command = [sys.executable, "-c", COUNTING, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(line for line in done.stdout.splitlines() if not line.startswith("bedrock_chat_late")) == [
        "bedrock_chat_early_total who=0 1",
        "bedrock_chat_early_total who=1 1",
        "bedrock_chat_early_total who=2 1",
        "bedrock_chat_early_total who=other 3",
        "bedrock_chat_there kind=a 0",
        "bedrock_chat_there kind=b 1",
    ]
    assert "bedrock_chat_late_seconds_bucket le=1.0 0" in done.stdout
    assert "bedrock_chat_late_seconds_bucket le=2.0 1" in done.stdout
    assert "bedrock_chat_late_seconds_count 1" in done.stdout
