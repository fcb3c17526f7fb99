"""One switch ends whatever its calls wait for, and a switch inside another ends with it."""

import threading
import time
from collections.abc import Callable

import pytest

from bedrock_chat.process.interruption import Interrupted, Interruption, current
from bedrock_chat.resilience.deadlines import Errand


def test_a_switch_ends_all_that_waits_under_it_and_nothing_that_is_over() -> None:
    interruption, ended = Interruption(), list[str]()
    with interruption.ending(lambda: ended.append("over")):
        pass
    with interruption.ending(lambda: ended.append("first")), interruption.ending(lambda: ended.append("second")):
        interruption.request()
    assert ended == ["first", "second"]


def test_what_cannot_be_ended_does_not_keep_the_others_waiting() -> None:
    interruption, ended = Interruption(), list[str]()

    def fail() -> None:
        raise OSError

    with interruption.ending(fail), interruption.ending(lambda: ended.append("second")):
        interruption.request()
    assert ended == ["second"]


def test_what_is_over_while_others_are_ended_is_left_alone() -> None:
    """As when a connection that nobody needs any more is closed meanwhile."""
    interruption, ended = Interruption(), list[str]()

    def second() -> None:
        ended.append("second")

    interruption.add(lambda: interruption.remove(second))
    interruption.add(second)
    interruption.request()
    assert ended == []


def test_nothing_begins_under_a_switch_that_is_on() -> None:
    interruption = Interruption()
    interruption.request()
    with pytest.raises(Interrupted), interruption.ending(pytest.fail):
        pytest.fail("it began")
    with pytest.raises(Interrupted):
        interruption.check()


def test_the_turns_switch_ends_its_calls_and_a_calls_own_ends_that_call_alone() -> None:
    turn = Interruption()
    with turn.inner() as alices, turn.inner() as bobs:
        alices.request()
        assert (alices.requested, bobs.requested, turn.requested) == (True, False, False)
        turn.request()
        assert bobs.requested
    with turn.inner() as late:
        assert late.requested


@pytest.mark.parametrize(("end", "expired"), [(Interruption.request, False), (Interruption.expire, True)])
def test_a_call_knows_whether_its_turn_was_stopped_or_took_too_long(
    end: Callable[[Interruption], None], expired: bool
) -> None:
    turn = Interruption()
    with turn.inner() as call:
        end(turn)
    assert (call.requested, call.expired) == (True, expired)


def test_a_call_that_is_over_is_not_kept_by_its_turn() -> None:
    turn = Interruption()
    for _ in range(3):
        with turn.inner() as call, call.ending(pytest.fail):
            pass
    turn.request()
    assert not turn._endings
    assert not call.requested


def test_work_on_another_thread_is_left_at_once() -> None:
    interruption, release = Interruption(), threading.Event()
    threading.Timer(0.1, interruption.request).start()
    started = time.monotonic()
    with pytest.raises(Interrupted):
        interruption.result(Errand(lambda: release.wait(10)), 10)
    assert time.monotonic() - started < 5
    release.set()


def test_work_that_ends_in_time_has_its_result_and_work_that_does_not_a_time_out() -> None:
    interruption, release = Interruption(), threading.Event()
    assert interruption.result(Errand(lambda: 7), 10) == 7
    with pytest.raises(TimeoutError):
        interruption.result(Errand(lambda: release.wait(10)), 0.05)
    release.set()
    assert not interruption.requested


def test_a_threads_switch_is_the_innermost_one() -> None:
    outer, inner = Interruption(), Interruption()
    assert current() is None
    with outer.of_this_thread():
        with inner.of_this_thread():
            assert current() is inner
        assert current() is outer
    assert current() is None
