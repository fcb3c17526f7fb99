"""A service of guardrails that hangs costs few jobs their time, and is asked again when it answers."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bedrock_chat.bedrock import clients, guardrails
from bedrock_chat.bedrock.faults import ModelFault, TimedOut, Unavailable, Unreachable
from bedrock_chat.resilience import dependencies
from tests.serving.conftest import eventually


class Control(ThreadingHTTPServer):
    """Lists no guardrails, as soon as it answers."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Listing)
        self.answers = threading.Event()
        self.calls = 0


class Listing(BaseHTTPRequestHandler):
    server: Control

    def do_GET(self) -> None:
        self.server.calls += 1
        self.server.answers.wait(10)
        self.send_response(200)
        self.send_header("Content-Length", "17")
        self.end_headers()
        self.wfile.write(b'{"guardrails":[]}')

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def control(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Control]:
    monkeypatch.setattr(guardrails, "CALL_SECONDS", 0.5)
    monkeypatch.setattr(guardrails, "QUEUE_SECONDS", 0.05)
    monkeypatch.setattr(dependencies, "PROBE_PAUSE_SECONDS", 0.02)
    with Control() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        settings.BEDROCK_CONTROL_ENDPOINT_URL = f"http://127.0.0.1:{server.server_port}"
        clients.reset()
        clients.bedrock()
        try:
            yield server
        finally:
            server.answers.set()
            assert eventually(lambda: not guardrails.GUARDRAILS.is_away)
            clients.reset()
            server.shutdown()


def ask(_: int = 0) -> tuple[type[ModelFault] | None, float]:
    """The fault of a call, and the seconds that it took."""
    begun = time.monotonic()
    try:
        list(guardrails.every())
    except ModelFault as fault:
        return type(fault), time.monotonic() - begun
    return None, time.monotonic() - begun


def test_after_the_first_time_out_nobody_waits_until_it_answers(control: Control) -> None:
    assert ask()[0] is TimedOut
    fault, seconds = ask()
    assert fault is Unreachable
    assert seconds < 0.3
    control.answers.set()
    assert eventually(lambda: ask()[0] is None)


def test_two_jobs_wait_for_it_at_a_time(control: Control) -> None:
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(ask, range(6)))
    assert [fault for fault, _ in outcomes].count(TimedOut) == 2
    assert {fault for fault, _ in outcomes} == {TimedOut, Unavailable}
    assert all(seconds < 0.4 for fault, seconds in outcomes if fault is Unavailable)
