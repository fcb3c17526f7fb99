"""Waits are bounded in total, and nothing is done to a call that has ended."""

import contextlib
import socket
import threading
import time
from typing import Any

import pytest

from bedrock_chat.resilience import deadlines
from bedrock_chat.resilience.deadlines import Errand, hang_up_after, within
from tests.serving.conftest import eventually


def test_a_read_that_a_drip_keeps_alive_is_ended() -> None:
    reading, dripping = socket.socketpair()
    done = threading.Event()

    def drip() -> None:
        with contextlib.suppress(OSError):
            while not done.wait(0.05):
                dripping.sendall(b".")

    peer = threading.Thread(target=drip)
    peer.start()
    received = 0
    with reading, dripping:
        reading.settimeout(5)
        with hang_up_after(0.3, lambda: reading.shutdown(socket.SHUT_RDWR)):
            while data := reading.recv(1):
                received += len(data)
        done.set()
        peer.join()
    assert received > 1


def test_a_block_that_ended_in_time_is_left_alone() -> None:
    ended: list[str] = []
    with hang_up_after(0.05, lambda: ended.append("in time")):
        pass
    with hang_up_after(0.05, lambda: ended.append("late")):
        time.sleep(0.3)
    assert ended == ["late"]


def test_a_nearer_deadline_is_met_first() -> None:
    ended: list[str] = []
    with hang_up_after(0.4, lambda: ended.append("far")):
        with hang_up_after(0.1, lambda: ended.append("near")):
            time.sleep(0.25)
        assert ended == ["near"]
        time.sleep(0.4)
    assert ended == ["near", "far"]


def test_the_end_of_a_block_waits_for_a_hang_up_that_has_begun() -> None:
    """Else it could hit the next call on the same connection."""
    begun, ended = threading.Event(), threading.Event()

    def hang_up() -> None:
        begun.set()
        time.sleep(0.2)
        ended.set()

    with hang_up_after(0.01, hang_up):
        assert begun.wait(5)
    assert ended.is_set()


def test_a_hang_up_that_fails_harms_no_other_deadline() -> None:
    ended: list[str] = []
    with hang_up_after(0.01, lambda: ended[5]), hang_up_after(0.1, lambda: ended.append("met")):
        time.sleep(0.4)
    assert ended == ["met"]


def test_a_block_that_the_collection_of_garbage_ends_harms_no_other_deadline() -> None:
    """It may run on the thread of the deadlines, whatever that does just now."""
    watch = deadlines._Watch()
    ended: list[str] = []
    other = deadlines._Deadline(time.monotonic() + 60, lambda: ended.append("other"))

    class Collecting(deadlines._Deadline):
        def __getattribute__(self, name: str) -> Any:
            if name == "due" and threading.current_thread() is watch._thread:
                watch.remove(other)
            return super().__getattribute__(name)

    watch.add(other)
    own = Collecting(time.monotonic() + 0.1, lambda: (ended.append("own"), watch.remove(own)))
    watch.add(own)
    last = deadlines._Deadline(time.monotonic() + 0.2, lambda: ended.append("last"))
    watch.add(last)
    assert eventually(lambda: ended == ["own", "last"], 5)
    assert watch._deadlines == set()


def test_work_in_time_gives_its_result_or_its_error() -> None:
    assert within(5, lambda: 42) == 42
    with pytest.raises(KeyError):
        within(5, lambda: {}["nothing"])


def test_work_that_hangs_is_waited_for_no_longer_and_its_late_result_is_discarded() -> None:
    release, discarded = threading.Event(), list[Any]()

    def work() -> str:
        release.wait(10)
        return "a connection"

    started = time.monotonic()
    with pytest.raises(TimeoutError):
        within(0.1, work, discard=discarded.append)
    assert time.monotonic() - started < 3
    release.set()
    deadline = time.monotonic() + 5
    while not discarded:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert discarded == ["a connection"]


def test_an_errand_can_be_abandoned_by_another_thread() -> None:
    release = threading.Event()
    errand = Errand(lambda: release.wait(10))
    threading.Timer(0.1, errand.abandon).start()
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        errand.result(10)
    assert time.monotonic() - started < 5
    release.set()


def test_a_result_is_either_taken_or_discarded() -> None:
    """An abandonment in the moment in which the work is done loses no connection, and discards none that is used."""
    for _ in range(300):
        discarded: list[int] = []
        errand = Errand(lambda: 1, discarded.append)
        threading.Thread(target=errand.abandon).start()
        try:
            results = [errand.result(5)]
        except TimeoutError:
            results = []
            deadline = time.monotonic() + 5
            while not discarded and time.monotonic() < deadline:
                time.sleep(0.001)
        assert results + discarded == [1]


def test_errands_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "_places", threading.BoundedSemaphore(1))
    release = threading.Event()
    first = Errand(lambda: release.wait(10))
    with pytest.raises(TimeoutError):
        within(5, lambda: "one too many")
    release.set()
    assert first.result(5)
    deadline = time.monotonic() + 5
    while True:
        with contextlib.suppress(TimeoutError):
            assert within(5, lambda: "again") == "again"
            break
        assert time.monotonic() < deadline
