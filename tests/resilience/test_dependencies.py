"""What is known of a dependency, and how it is left alone while it is away."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
import redis

from bedrock_chat.resilience import dependencies
from bedrock_chat.resilience.dependencies import Away, Check, Dependency, State, reason
from tests.serving.conftest import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependencies, "PROBE_PAUSE_SECONDS", 0.02)


def test_one_that_failed_is_left_alone_until_its_probe_passes() -> None:
    back, threads = threading.Event(), list[str]()

    def probe() -> None:
        threads.append(threading.current_thread().name)
        if not back.is_set():
            raise TimeoutError

    clock = Dependency("The clock", probe)
    clock.refuse_while_away()
    clock.failed(TimeoutError())
    clock.failed(TimeoutError())
    with pytest.raises(Away):
        clock.refuse_while_away()
    assert (clock.is_away, clock.state) == (True, State.NO_ANSWER)
    assert eventually(lambda: len(threads) > 2)
    assert set(threads) == {"The clock probe"}
    back.set()
    assert eventually(lambda: not clock.is_away)
    assert clock.state == State.OK
    clock.refuse_while_away()


def test_the_probe_corrects_the_reason() -> None:
    def probe() -> None:
        if not back.is_set():
            raise ConnectionRefusedError

    back = threading.Event()
    clock = Dependency("The clock", probe)
    clock.failed(TimeoutError())
    assert eventually(lambda: clock.state == State.REFUSED)
    back.set()
    assert eventually(lambda: not clock.is_away)


def test_one_without_a_probe_is_used_on_and_its_next_answer_counts() -> None:
    model = Dependency("The model")
    model.failed(TimeoutError())
    model.refuse_while_away()
    assert model.state == State.NO_ANSWER
    model.answered()
    assert model.state == State.OK


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (TimeoutError(), State.NO_ANSWER),
        (psycopg.errors.ConnectionTimeout("connection timeout expired"), State.NO_ANSWER),
        (redis.TimeoutError("Timeout connecting to server"), State.NO_ANSWER),
        (psycopg.OperationalError("connection failed: Connection refused"), State.REFUSED),
        (ConnectionRefusedError(111, "Connection refused"), State.REFUSED),
        (redis.AuthenticationError("invalid username-password pair"), State.FAILING),
        (OSError("No route to host"), State.FAILING),
    ],
)
def test_the_reason_is_one_of_three(error: Exception, state: State) -> None:
    assert reason(error) == state


def test_a_check_gives_what_it_found_out() -> None:
    check = Check("It", lambda: 7, patience=5)
    check.begin()
    assert check.ask() == (State.OK, 7)


def test_a_check_that_fails_says_why() -> None:
    def refuse() -> None:
        raise ConnectionRefusedError("Connection refused")

    check = Check("It", refuse, patience=5)
    check.begin()
    assert check.ask() == (State.REFUSED, None)


def test_however_many_ask_at_most_one_check_is_under_way_and_nobody_waits_twice() -> None:
    release, begun = threading.Event(), list[float]()

    def work() -> str:
        begun.append(time.monotonic())
        release.wait(10)
        return "back"

    check = Check("It", work, patience=0.3)

    def ask(_: int) -> tuple[State, object]:
        check.begin()
        return check.ask()

    with ThreadPoolExecutor(20) as pool:
        assert {state for state, _ in pool.map(ask, range(20))} == {State.NO_ANSWER}
    started = time.monotonic()
    assert ask(0)[0] == State.NO_ANSWER
    assert time.monotonic() - started < 0.25  # the patience of this check is over
    assert len(begun) == 1
    release.set()
    assert eventually(lambda: ask(0) == (State.OK, "back"))
