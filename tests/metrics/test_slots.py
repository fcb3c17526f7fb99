"""Where processes count: each into files of its own, which the next one takes over, however the first one ended."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bedrock_chat.metrics import slots
from tests.live import ROOT

COUNTING = """
import sys
from bedrock_chat.metrics import instruments
done = instruments.Counter("bedrock_chat_done_total", "Done.", ("by",))
here = instruments.Gauge("bedrock_chat_here", "Here.", read=lambda: 1)
instruments.begin(sys.argv[1])
instruments.sample()
for line in sys.stdin:
    done.add("somebody", amount=float(line))
    print("counted", flush=True)
"""


class Process:
    """A process that counts what it is sent."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", COUNTING, str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def count(self, number: float) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{number}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "counted\n"

    def kill(self) -> str:
        """Returns what it had said on stderr."""
        self.process.send_signal(signal.SIGKILL)
        return self.process.communicate()[1]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[type[Process]]:
    with ExitStack() as stack:

        class Started(Process):
            def __init__(self) -> None:
                super().__init__(tmp_path)
                stack.callback(self.kill)

        yield Started


def read(folder: Path) -> dict[str, float]:
    from prometheus_client.multiprocess import MultiProcessCollector

    families = MultiProcessCollector.merge(slots.files(str(folder)))
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_processes_count_together_and_the_killed_ones_keep_what_they_had(start: type[Process], tmp_path: Path) -> None:
    first, second = start(), start()
    first.count(1)
    second.count(10)
    assert read(tmp_path) == {"bedrock_chat_done_total": 11, "bedrock_chat_here": 2}
    first.kill()
    assert read(tmp_path) == {"bedrock_chat_done_total": 11, "bedrock_chat_here": 1}
    files = set(tmp_path.iterdir())
    third = start()
    third.count(100)
    assert read(tmp_path) == {"bedrock_chat_done_total": 111, "bedrock_chat_here": 2}
    assert set(tmp_path.iterdir()) == files  # it has taken the place of the first one
    second.kill()
    third.kill()
    assert read(tmp_path) == {"bedrock_chat_done_total": 111}


def test_a_file_that_was_damaged_is_given_up_by_name(start: type[Process], tmp_path: Path) -> None:
    first = start()
    first.count(1)  # it has its place before the second one looks for one
    second = start()
    second.count(10)
    first.kill()
    second.kill()
    damaged = tmp_path / "counter_1.db"
    damaged.write_bytes(b"\xff\xff\x00\x00" + b"\x7f" * 100)
    third = start()
    third.count(100)
    assert read(tmp_path)["bedrock_chat_done_total"] == 101
    assert str(damaged) in third.kill()


def test_files_have_their_room_before_anything_is_counted(start: type[Process], tmp_path: Path) -> None:
    start().count(1)
    for file in tmp_path.glob("*.db"):
        assert file.stat().st_blocks * 512 >= slots.ROOM, file.name  # else a full disk would kill the process


def test_where_nothing_can_be_written_the_process_says_so_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    process = Process(tmp_path / "file")
    process.count(1)
    assert "METRICS_DIR" in process.kill()
