"""A call to a model is bounded in total: its connection in all phases, and its answer however steadily it drips."""

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bedrock_chat.bedrock import clients, faults, retrying, runtime
from bedrock_chat.bedrock.events import TextDelta
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.resilience.dependencies import State
from tests.bedrock.asking import request_to_model
from tests.bedrock.test_interruption import AT_ONCE, BOTH, after, ended_after
from tests.emulator import Emulator
from tests.stalling import BLACK_HOLE, SLOW_DRIP, STOPPED, Proxy, Service, once

QUICK = 1.5  # seconds that a busy machine may take for what is done at once


@pytest.fixture
def proxy(emulator: Emulator, settings: Any) -> Iterator[Proxy]:
    """Stands before the emulator."""
    with Proxy(Service(emulator.url, emulator.process.pid)) as proxy:
        settings.BEDROCK_ENDPOINT_URL = proxy.url
        clients.reset()
        yield proxy
    clients.reset()


def fail(text: str = "hello", *, stream: bool = False, into: list[Any] | None = None) -> tuple[Any, float]:
    """The fault of a call, and how many seconds it took. What comes before goes `into` a list."""
    events = [] if into is None else into
    started = time.monotonic()
    with pytest.raises(faults.ModelFault) as fault:
        events.extend(runtime.call(request_to_model(text), stream=stream))
    return fault.value, time.monotonic() - started


@pytest.mark.parametrize(("fault", "status"), [(STOPPED, 504), (BLACK_HOLE, 503), (SLOW_DRIP, 504)])
@once
@pytest.mark.slow
@BOTH
def test_a_bedrock_that_stalls_is_a_fault_in_time_and_readiness_says_so(
    proxy: Proxy, settings: Any, fault: str, status: int, stream: bool
) -> None:
    settings.MODEL_CONNECT_TIMEOUT, settings.MODEL_READ_TIMEOUT, settings.MODEL_TOTAL_TIMEOUT = 0.5, 1.0, 1.5
    with proxy.having(fault):
        error, seconds = fail(stream=stream)
    assert (error.status_code, seconds < 1.5 + QUICK) == (status, True)
    assert retrying.BEDROCK.state == State.NO_ANSWER
    assert list(runtime.call(request_to_model(), stream=stream))
    assert retrying.BEDROCK.state == State.OK


def test_an_answer_that_never_ends_is_ended_and_what_was_said_is_kept(emulator: Emulator, settings: Any) -> None:
    settings.MODEL_TOTAL_TIMEOUT = 0.6
    events: list[Any] = []
    error, seconds = fail("[[words:900]] [[pace:0.05]]", stream=True, into=events)
    assert (type(error), error.code) == (faults.TimedOut, "TotalTimeout")
    assert seconds < 0.6 + QUICK
    assert any(isinstance(event, TextDelta) for event in events)


def test_an_answer_in_time_is_left_alone(emulator: Emulator, settings: Any) -> None:
    settings.MODEL_TOTAL_TIMEOUT = 5
    events = list(runtime.call(request_to_model("[[words:5]] [[pace:0.02]]"), stream=True))
    time.sleep(0.1)
    assert events[-1].stop_reason == "end_turn"


# ---- Connecting -----------------------------------------------------------------------------------------------------


@BOTH
def test_a_stop_while_the_connection_is_made_is_heeded_at_once(proxy: Proxy, settings: Any, stream: bool) -> None:
    settings.MODEL_CONNECT_TIMEOUT = 20
    interrupt = Interruption()
    request = request_to_model()
    with proxy.having(BLACK_HOLE):
        ended = ended_after(
            interrupt, after(0.2), lambda: list(runtime.call(request, stream=stream, interrupt=interrupt))
        )
    assert ended < AT_ONCE


def test_all_addresses_of_a_host_together_have_the_connect_timeout(
    proxy: Proxy, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODEL_CONNECT_TIMEOUT = 0.5
    resolve = socket.getaddrinfo
    with proxy.having(BLACK_HOLE), monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", lambda *args, **options: resolve(*args, **options) * 8)
        error, seconds = fail()
    assert isinstance(error, faults.Unreachable)
    assert seconds < 0.5 + QUICK


def test_a_host_name_that_is_not_resolved_is_waited_for_no_longer(
    emulator: Emulator, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.MODEL_CONNECT_TIMEOUT = 0.3
    clients.reset()
    release = threading.Event()

    def never(*_: Any, **__: Any) -> Any:
        release.wait(10)
        raise socket.gaierror

    with monkeypatch.context() as patched:
        patched.setattr(socket, "getaddrinfo", never)
        error, seconds = fail()
    release.set()
    assert (type(error), error.code) == (faults.Unreachable, "ConnectTimeoutError")
    assert seconds < 0.3 + QUICK


def test_a_tls_handshake_that_hangs_is_left(proxy: Proxy, settings: Any) -> None:
    settings.MODEL_CONNECT_TIMEOUT = 0.5
    settings.BEDROCK_ENDPOINT_URL = f"https://{proxy.address}"
    clients.reset()
    with proxy.having(STOPPED):
        error, seconds = fail()
    assert isinstance(error, faults.Unreachable)
    assert seconds < 0.5 + QUICK
