"""A server behind tools gets sixteen calls at once, and none for a while when it does not answer."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from bots.tools import servers
from bots.tools.servers import Places
from bots.tools.tool import Context, ToolFault
from tests.bots.tools.calling import bot, configuration, context


def one(seconds: float = 20.0) -> Context:
    return context(bot(configuration()), seconds)


def fails(places: Places, *, counts: bool = True) -> None:
    with pytest.raises(ToolFault, match="timeout"), places.place("s", one()):
        raise ToolFault("It did not answer.", "timeout", counts=counts)


def outcome(places: Places, server: str = "s") -> str:
    try:
        with places.place(server, one(0.0)):
            return "success"
    except ToolFault as fault:
        return fault.outcome


@contextmanager
def passing(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The clock, of which a test adds seconds to the last item."""
    moved = [0.0]
    real = time.monotonic
    monkeypatch.setattr("bots.tools.servers.time.monotonic", lambda: real() + moved[0])
    yield moved


def test_the_seventeenth_call_waits_two_seconds_and_is_told_that_the_server_is_busy() -> None:
    places = Places()
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(places.place("s", one()))
        began = time.monotonic()
        with pytest.raises(ToolFault, match="busy"), places.place("s", one()):
            pass
        assert 1.9 < time.monotonic() - began < 10
        assert outcome(places, "another") == "success"


def test_a_waiting_call_takes_the_place_that_gets_free() -> None:
    places = Places()
    with ExitStack() as stack:
        first = stack.enter_context(ExitStack())
        first.enter_context(places.place("s", one()))
        for _ in range(15):
            stack.enter_context(places.place("s", one()))
        threading.Timer(0.2, first.close).start()
        with places.place("s", one()):
            pass


def test_a_stop_ends_the_wait_for_a_place() -> None:
    places, waiting = Places(), one()
    with ExitStack() as stack:
        for _ in range(16):
            stack.enter_context(places.place("s", one()))
        threading.Timer(0.1, waiting.interruption.request).start()
        began = time.monotonic()
        with pytest.raises(ToolFault, match="stopped"), places.place("s", waiting):
            pass
        assert time.monotonic() - began < 1.8


def test_three_failures_in_a_row_and_the_server_is_left_alone_for_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    places = Places()
    with passing(monkeypatch) as clock:
        fails(places)
        fails(places)
        assert outcome(places) == "success"  # and the count begins anew
        for _ in range(3):
            fails(places)
        assert outcome(places) == "unreachable"
        assert places.resting() == ["s"]
        assert outcome(places, "another") == "success"
        clock[0] += 29.0
        assert outcome(places) == "unreachable"
        clock[0] += 1.1
        assert outcome(places) == "success"
        assert places.resting() == []


def test_each_failed_trial_doubles_the_rest_up_to_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places()
    with passing(monkeypatch) as clock:
        for _ in range(3):
            fails(places)
        for rest in (30, 60, 120, 240, 300, 300):
            clock[0] += rest - 1
            assert outcome(places) == "unreachable"
            clock[0] += 1.1
            fails(places)
        clock[0] += 301
        assert outcome(places) == "success"
        fails(places)  # one alone is no reason any more
        assert outcome(places) == "success"


def test_one_call_tries_and_the_others_are_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places()
    with passing(monkeypatch) as clock:
        for _ in range(3):
            fails(places)
        clock[0] += 31
        with places.place("s", one()):
            assert outcome(places) == "unreachable"
        assert outcome(places) == "success"


def test_a_trial_that_was_stopped_leaves_the_next_one_to_try(monkeypatch: pytest.MonkeyPatch) -> None:
    places = Places()
    with passing(monkeypatch) as clock:
        for _ in range(3):
            fails(places)
        clock[0] += 31
        with pytest.raises(ToolFault, match="stopped"), places.place("s", one()):
            raise servers.stopped()
        assert outcome(places) == "success"


def test_a_refusal_is_an_answer() -> None:
    places = Places()
    for _ in range(5):
        fails(places, counts=False)
    assert outcome(places) == "success"


def test_servers_that_are_well_are_forgotten() -> None:
    places = Places()
    for number in range(100):
        assert outcome(places, str(number)) == "success"
    fails(places)
    assert list(places._servers) == ["s"]
