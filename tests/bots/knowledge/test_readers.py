"""Readers: few processes, bounded in memory and time, none of which takes its worker along."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bedrock_chat.process.interruption import Interrupted, Interruption
from bots.knowledge.reading.pages import Reading, Unreadable
from bots.knowledge.reading.process import ROOT
from bots.knowledge.reading.readers import Readers, kind_of_name
from tests.bots.knowledge import documents

SLOW_PAGE = "<html><body><p " + " ".join(f"a{number}=1" for number in range(200_000)) + ">text</p></body></html>"
"""libxml2 looks for each attribute among those before it, which takes minutes."""


@contextmanager
def begun(most: int = 1, **options: float) -> Iterator[Readers]:
    readers = Readers(most, **options)
    try:
        yield readers
    finally:
        readers.end()


def read(
    readers: Readers, path: Path, interruption: Interruption | None = None, *, most_characters: int = 100_000
) -> Reading:
    kind = kind_of_name(path.name)
    assert kind is not None
    return readers.read(
        str(path),
        kind,
        most_characters=most_characters,
        most_pages=100,
        interruption=interruption or Interruption(),
    )


def has_ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def until(condition: object) -> None:
    """Waits for a condition to be true."""
    assert callable(condition)
    for _ in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("It never came true.")


def written(path: Path, body: str) -> Path:
    path.write_text(body)
    return path


def test_a_reader_knows_nothing_limits_itself_and_serves_many_documents(tmp_path: Path) -> None:
    texts = [written(tmp_path / f"{number}.txt", f"Text number {number}.") for number in range(5)]
    with begun(documents_per_child=3) as readers:
        assert read(readers, texts[0]).pages[0].text == "Text number 0."
        [pid] = readers.pids
        if sys.platform == "linux":
            limits = Path(f"/proc/{pid}/limits").read_text()
            [memory] = [line.split()[3:5] for line in limits.splitlines() if line.startswith("Max address space")]
            assert memory == [str(1024**3)] * 2
            assert Path(f"/proc/{pid}/environ").read_bytes() == b""
            assert os.getpriority(os.PRIO_PROCESS, pid) >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10)
            assert "django" not in Path(f"/proc/{pid}/maps").read_text()
        assert [read(readers, text).pages[0].text for text in texts[1:3]] == ["Text number 1.", "Text number 2."]
        until(lambda: not readers.pids)
        read(readers, texts[3])
        [second] = readers.pids
        assert second != pid
        read(readers, texts[4])
        assert readers.pids == {second}
    assert has_ended(pid)
    assert has_ended(second)


def test_a_reader_that_is_killed_fails_its_document_alone_and_one_that_idles_ends(tmp_path: Path) -> None:
    slow, text = written(tmp_path / "slow.html", SLOW_PAGE), written(tmp_path / "a.txt", "Some text.")
    with begun(idle_seconds=0.2) as readers:
        sentences: list[str] = []

        def fail() -> None:
            with pytest.raises(Unreadable) as raised:
                read(readers, slow, most_characters=len(SLOW_PAGE))
            sentences.append(raised.value.sentence)

        reading = threading.Thread(target=fail)
        reading.start()
        until(lambda: readers.pids)
        for pid in readers.pids:
            os.kill(pid, signal.SIGKILL)
        reading.join()
        assert sentences == ["this file ended the program that reads it, as damaged and oversized files do."]
        assert read(readers, text).pages[0].text == "Some text."
        until(lambda: not readers.pids)
        assert read(readers, text).pages[0].text == "Some text."
        for pid in readers.pids:  # one that idled is gone: the next document does not notice
            os.kill(pid, signal.SIGKILL)
        until(lambda: not readers.pids)
        assert read(readers, text).pages[0].text == "Some text."


def test_an_interruption_ends_the_reader_and_whoever_waits_for_one(tmp_path: Path) -> None:
    slow = written(tmp_path / "slow.html", SLOW_PAGE)
    with begun() as readers:
        switches = [Interruption(), Interruption()]
        ends: list[str] = []

        def end(switch: Interruption) -> None:
            with pytest.raises(Interrupted):
                read(readers, slow, switch, most_characters=len(SLOW_PAGE))
            ends.append("interrupted")

        threads = [threading.Thread(target=end, args=(switch,)) for switch in switches]
        for thread in threads:
            thread.start()
        until(lambda: readers.pids)
        assert len(readers.pids) == 1
        for switch in switches:
            switch.request()
        for thread in threads:
            thread.join(10)
        assert ends == ["interrupted"] * 2
        until(lambda: not readers.pids)
        with pytest.raises(Interrupted):
            read(readers, slow, switches[0])
    with pytest.raises(Interrupted):
        read(readers, slow)


def test_a_reader_is_killed_at_its_deadline(tmp_path: Path) -> None:
    with begun(seconds=1) as readers:
        with pytest.raises(Unreadable) as raised:
            read(readers, written(tmp_path / "slow.html", SLOW_PAGE), most_characters=len(SLOW_PAGE))
        assert raised.value.sentence == "reading this file took longer than 1 seconds."
        assert not readers.pids


def test_pages_are_drawn_small_enough_for_a_model(readers: Readers, tmp_path: Path) -> None:
    path = tmp_path / "a.pdf"
    path.write_bytes(documents.pdf([None] * 5, picture=True))
    drawn = dict(readers.render(str(path), [1, 2, 4, 5, 9], Interruption()))
    assert list(drawn) == [1, 2, 4, 5]
    assert {documents.size_of_picture(body) for body in drawn.values()} == {(1109, 1568)}
    path.write_bytes(documents.pdf([None]))
    assert list(readers.render(str(path), [1], Interruption())) == [(1, b"")]
    path.write_bytes(b"%PDF-1.7 and nothing else")
    with pytest.raises(Unreadable):
        list(readers.render(str(path), [1], Interruption()))


@pytest.mark.slow
def test_a_reader_ends_with_its_worker(tmp_path: Path) -> None:
    text = written(tmp_path / "a.txt", "Some text.")
    program = (
        "import sys, os, signal; from bots.knowledge.reading.readers import Readers;"
        "from bedrock_chat.process.interruption import Interruption;"
        f"Readers(1).read({str(text)!r}, 'txt', most_characters=99, most_pages=9, interruption=Interruption());"
        "children = open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read();"
        "print(children, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    import subprocess

    worker = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False, text=True)
    [pid] = map(int, worker.stdout.split())
    until(lambda: not Path(f"/proc/{pid}").exists() or "zombie" in Path(f"/proc/{pid}/status").read_text())
