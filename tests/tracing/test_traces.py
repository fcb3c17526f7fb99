"""A collector is told how long turns took and what they consisted of: never what was said, and nobody waits for it."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from django.core.exceptions import ImproperlyConfigured

from bedrock_chat.start import optional
from bedrock_chat.tracing import exporting
from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.listening import ask, ask_socket
from tests.live import LiveServer
from tests.publication.api import publish_live, question
from tests.serving.conftest import eventually
from tests.tracing.collector import Collector, Received, collecting

SECRET = "ornithopter"
"""A word of people: in texts, ids, titles and paths."""
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MODEL = "claude-v3.7-sonnet"
NOBODY = "http://127.0.0.1:9"
LONGEST = 6.0
"""Seconds that a turn, or the end of a process, takes on a busy machine; a collector is given ten."""
CALL = f"chat {MODEL}"
SECRETS = {"ENCRYPTION_KEYS": new_key(), "SECRET_KEY": "x" * 60}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def server(collector: Collector, data: Path, emulator_process: Emulator) -> Iterator[LiveServer]:
    emulator_process.reset()
    variables = {**SECRETS, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    with LiveServer(data, emulator_process.url, **variables) as running:
        yield running


@pytest.fixture(scope="module")
def alice(server: LiveServer) -> str:
    """Her token."""
    return server.manage("issue_token", "alice")


def chain(collector: Collector, trace: str) -> list[Received]:
    """The spans of a trace, from the outermost one inwards, each within the one before."""
    spans = [span for span in collector.spans if span.trace == trace]
    ids = {span.id for span in spans}
    ordered = [span for span in spans if span.parent not in ids]
    while inner := [span for span in spans if ordered and span.parent == ordered[-1].id]:
        assert len(inner) == 1, inner
        ordered += inner
    assert len(ordered) == len(spans)
    return ordered


def test_a_turn_is_in_its_callers_trace_down_to_the_call_of_the_model(
    collector: Collector, server: LiveServer, alice: str
) -> None:
    headers = {"Authorization": f"Bearer {alice}", "traceparent": f"00-{TRACE}-{CALLER}-01", "X-Request-ID": "r1"}
    response = httpx.post(f"{server.url}/conversation", json=payload(f"{SECRET}-1", SECRET), headers=headers)
    assert response.status_code == 200
    assert eventually(lambda: len(chain(collector, TRACE)) == 4)
    request, turn, a_round, call = chain(collector, TRACE)
    assert (request.name, request.parent, request.service) == ("POST /conversation", CALLER, "bedrock-chat")
    assert request.attributes["http.response.status_code"] == 200
    assert request.attributes["bedrock_chat.request.id"] == "r1"
    assert (turn.name, turn.attributes["bedrock_chat.turn.outcome"]) == ("turn", "answered")
    assert (a_round.name, a_round.attributes["bedrock_chat.round.number"]) == ("round", 1)
    assert (call.name, call.attributes["gen_ai.request.model"]) == (CALL, MODEL)
    assert call.attributes["gen_ai.usage.output_tokens"] > 0
    assert call.attributes["gen_ai.response.finish_reasons"] == ["end_turn"]


def test_a_stream_and_a_socket_have_their_turns_too(collector: Collector, server: LiveServer, alice: str) -> None:
    collector.bodies.clear()
    ask(server, alice, f"{SECRET}-2", f"{SECRET} [[throttle:1]]")
    assert eventually(lambda: len(collector.spans) == 4)
    streamed = chain(collector, collector.named("turn")[0].trace)
    assert [span.name for span in streamed] == ["POST /conversation", "turn", "round", CALL]
    assert streamed[1].attributes["bedrock_chat.turn.mode"] == "streamed"
    [(event, attributes)] = streamed[3].events
    assert (event, attributes["error.type"]) == ("retry", "Throttled")
    collector.bodies.clear()
    ask_socket(server, alice, f"{SECRET}-3", SECRET)
    assert eventually(lambda: len(collector.spans) == 4)
    of_socket = chain(collector, collector.named("turn")[0].trace)
    assert [span.name for span in of_socket] == ["WEBSOCKET /ws", "turn", "round", CALL]


def test_a_published_turn_is_in_the_trace_of_who_listens_also_where_it_waited_for_another(
    collector: Collector, server: LiveServer
) -> None:
    api = publish_live(server, SECRET)
    collector.bodies.clear()

    def listen(number: int) -> str:
        headers = {**api.headers, "Accept": "text/event-stream", "traceparent": f"00-{number:032x}-{CALLER}-01"}
        sent = question(f"{SECRET} [[wait:0.5]]", conversationId="queue")
        return httpx.post(f"{api.url}/conversation", json=sent, headers=headers, timeout=20).text

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(listen, 1)
        time.sleep(0.3)
        second = pool.submit(listen, 2)
        answers = [first.result(), second.result()]
    assert all("message_stop" in answer for answer in answers)
    route = "POST /published/{bot_id}/{stage}/conversation"
    for number in (1, 2):
        trace = f"{number:032x}"
        assert eventually(lambda trace=trace: len(chain(collector, trace)) == 5)
        assert [span.name for span in chain(collector, trace)] == [route, "job", "turn", "round", CALL]


def test_a_failure_is_told_by_its_kind_alone(collector: Collector, server: LiveServer, alice: str) -> None:
    collector.bodies.clear()
    question = payload(f"{SECRET}-4", f"{SECRET} [[fault:ValidationException]]")
    status, answer = server.call("POST", "/conversation", question, token=alice)
    assert status == 400, answer
    assert eventually(lambda: len(collector.spans) == 4)
    request, turn, _, call = chain(collector, collector.named("turn")[0].trace)
    assert not request.failed  # the client's doing
    assert (turn.failed, turn.attributes["error.type"]) == (True, "Invalid")
    assert (call.failed, call.attributes["error.type"]) == (True, "Invalid")


def test_nothing_that_was_said_is_sent(collector: Collector, server: LiveServer, alice: str) -> None:
    collector.bodies.clear()
    ask(server, alice, f"{SECRET}-5", SECRET)
    assert server.call("GET", f"/conversation/{SECRET}-5", token=alice)[0] == 200
    assert server.call("PATCH", f"/conversation/{SECRET}-5/title", {"newTitle": SECRET}, token=alice)[0] == 200
    assert server.call("GET", f"/{SECRET}?{SECRET}={SECRET}", token=alice)[0] == 404
    assert server.call("GET", f"/conversation/{SECRET}-5/proposed-title", token=alice)[0] == 200
    assert eventually(lambda: len(collector.spans) == 4 + 1 + 1 + 1 + 2)
    assert SECRET.encode() not in collector.bytes
    assert alice.encode() not in collector.bytes
    assert b"local:" not in collector.bytes


@pytest.mark.parametrize("hangs", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["hangs", "is away"])
def test_a_collector_that_hangs_or_is_away_delays_nobody(
    hangs: bool, data: Path, alice: str, emulator_process: Emulator, tmp_path: Path
) -> None:
    with collecting() as collector:
        collector.hangs = hangs
        variables = {
            **SECRETS,
            "DATABASE_URL": f"sqlite:///{data / 'bedrock-chat.sqlite3'}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url if hangs else NOBODY,
            "OTEL_BSP_SCHEDULE_DELAY": "20",
            "OTEL_BSP_MAX_QUEUE_SIZE": "8",
            "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4",
        }
        with LiveServer(tmp_path, emulator_process.url, **variables) as server:
            for number in range(5):  # more spans than the queue holds
                begun = time.monotonic()
                assert server.call("POST", "/conversation", payload(f"h{number}", "hi"), token=alice)[0] == 200
                assert time.monotonic() - begun < LONGEST
            begun = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(10) == 0
            assert time.monotonic() - begun < LONGEST + exporting.FLUSH_SECONDS
            log = server.log.read_text()
    assert log.count("opentelemetry.exporter") <= 1


def test_a_process_that_ends_sends_what_it_has(
    collector: Collector, emulator_process: Emulator, tmp_path: Path
) -> None:
    collector.bodies.clear()
    variables = {**SECRETS, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "60000"}
    with LiveServer(tmp_path, emulator_process.url, OTEL_SERVICE_NAME="my chat", **variables) as server:
        assert server.call("GET", "/health")[0] == 200
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(10) == 0
    assert [(span.name, span.service) for span in collector.spans] == [("GET /health", "my chat")]


def test_without_its_packages_a_start_says_what_is_missing() -> None:
    with (
        optional.left_out("opentelemetry.exporter.otlp.proto.http.trace_exporter"),
        pytest.raises(ImproperlyConfigured, match=r"requirements-tracing\.txt"),
    ):
        exporting.begin()
