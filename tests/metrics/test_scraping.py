"""A server and a worker do what they do; Prometheus finds all of it counted, and nothing of what was said."""

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.conversations.chat import payload
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.listening import ask, ask_socket, asking
from tests.live import LiveServer
from tests.metrics.scrapes import TOKEN, Scrape, scrape, status_of, working
from tests.publication.api import LiveApi, limits, publish_live, question
from tests.servers import free_port
from tests.serving.conftest import eventually
from tests.stalling import STOPPED, Proxy, Service
from tests.tracing.collector import Collector, collecting

SETTINGS = {"METRICS_TOKEN": TOKEN, "ENCRYPTION_KEYS": new_key(), "SECRET_KEY": "x" * 60}
KIND = "bedrock_chat.job.kind"
MODEL = "claude-v3.7-sonnet"
SECRET = "ornithopter"
"""A word of people: in texts, ids, titles, paths and names."""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with collecting() as running:
        yield running


@pytest.fixture(scope="module")
def server(database_url: str, data: Path, emulator_process: Emulator, collector: Collector) -> Iterator[LiveServer]:
    emulator_process.reset()
    traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
    variables = {**SETTINGS, **traces, "DATABASE_URL": database_url, "TURNS_PER_USER": "1"}
    with LiveServer(data, emulator_process.url, **variables) as running:
        yield running


@pytest.fixture(scope="module")
def key(server: LiveServer) -> str:
    """Of Dave's API, which takes one question a day."""
    return publish_live(server, SECRET, limits(quota=1)).key


@pytest.fixture(scope="module")
def alice(server: LiveServer) -> str:
    """Her token."""
    return server.manage("issue_token", "alice")


@pytest.fixture(scope="module")
def day(server: LiveServer, alice: str, key: str) -> Scrape:
    """What is counted after a busy day."""
    assert server.call("POST", "/conversation", payload(f"{SECRET}-1", SECRET), token=alice)[0] == 200
    assert ask(server, alice, f"{SECRET}-2", f"{SECRET} in a stream")[-1].name == "message_stop"
    assert ask_socket(server, alice, f"{SECRET}-3", SECRET)
    assert server.call("POST", "/conversation", payload("c4", f"{SECRET} [[throttle:1]]"), token=alice)[0] == 200
    assert server.call("POST", "/conversation", payload("c5", "[[fault:AccessDeniedException]]"), token=alice)[0] == 502
    assert server.call("GET", f"/{SECRET}/{SECRET}?{SECRET}")[0] == 404
    assert server.call("DELETE", f"/conversation/{SECRET}-1", token=alice)[0] == 200
    assert [server.call(method, "/conversation")[0] for method in ("PUT", "HEAD", "PATCH")] == [401, 401, 401]
    api = f"{server.url}/published/{SECRET}/api/conversation"
    statuses = [
        httpx.post(api, json=question(SECRET), headers={"x-api-key": value}).status_code for value in (key, key, SECRET)
    ]
    assert statuses == [200, 429, 403]
    assert scrape(server).value("bedrock_chat_published_turns_undone") == 1
    port = free_port()
    with working(server, WORKER_PORT=str(port)):
        assert eventually(lambda: scrape(server).value("bedrock_chat_published_turns_undone") == 0, 15)
        assert eventually(lambda: scrape(server).value("bedrock_chat_job_attempts_total", kind="published turn") == 1)
        url = f"http://127.0.0.1:{port}"
        paths = ("/health", "/ready", "/metrics", "/conversations", "/")
        statuses = [httpx.get(url + path).status_code for path in paths]
        assert statuses == [200, 200, 401, 404, 404]
        of_worker = Scrape(httpx.get(f"{url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).text)
        assert of_worker.value("bedrock_chat_job_attempts_total", kind="published turn") == 1
        return scrape(server)


def test_requests_are_counted_by_route_and_class_of_status(day: Scrape) -> None:
    count = day.value
    assert count("bedrock_chat_requests_total", method="POST", route="/conversation", status="2xx") == 3
    assert count("bedrock_chat_requests_total", method="POST", route="/conversation", status="5xx") == 1
    assert count("bedrock_chat_requests_total", method="other", route="/conversation", status="4xx") == 3
    assert count("bedrock_chat_requests_total", method="WEBSOCKET", route="/ws") == 1
    assert count("bedrock_chat_requests_total", route="/conversation/{conversation_id}", status="2xx") == 1
    assert count("bedrock_chat_requests_total", route="other", status="4xx") == 1
    route = "/published/{bot_id}/{stage}/conversation"
    assert count("bedrock_chat_requests_total", route=route, status="4xx") == 2
    assert count("bedrock_chat_request_duration_seconds_count", route="/conversation", method="POST") == 4
    assert count("bedrock_chat_request_duration_seconds_bucket", route="/conversation", method="POST", le="+Inf") == 4


def test_turns_are_counted_by_how_they_ended(day: Scrape) -> None:
    assert day.value("bedrock_chat_turns_total", caller="user", outcome="answered") == 4
    assert day.value("bedrock_chat_turns_total", caller="user", outcome="failed") == 1
    assert day.value("bedrock_chat_turns_total", caller="publication", outcome="answered") == 1
    assert day.value("bedrock_chat_turn_duration_seconds_count", mode="streamed") == 2
    assert day.value("bedrock_chat_turns_running") == 0


def test_calls_of_models_are_counted_with_their_tokens_price_and_time(day: Scrape) -> None:
    assert day.value("bedrock_chat_model_calls_total", model=MODEL, outcome="answered") == 5
    assert day.value("bedrock_chat_model_calls_total", model=MODEL, outcome="failed") == 1
    assert day.value("bedrock_chat_model_call_duration_seconds_count", model=MODEL, mode="streamed") == 2
    assert day.value("bedrock_chat_model_first_token_seconds_count", model=MODEL) == 2
    assert day.value("bedrock_chat_model_tokens_total", model=MODEL, kind="input") > 5
    assert day.value("bedrock_chat_model_tokens_total", model=MODEL, kind="output") > 5
    assert 0 < day.value("bedrock_chat_model_price_usd_total", model=MODEL) < 0.01


def test_throttled_calls_and_other_faults_are_counted_by_their_kind(day: Scrape) -> None:
    assert day.value("bedrock_chat_model_throttles_total", model=MODEL) == 1
    assert day.value("bedrock_chat_model_retries_total", model=MODEL) == 1
    assert day.value("bedrock_chat_model_faults_total", fault="Throttled") == 1
    assert day.value("bedrock_chat_model_faults_total", fault="AccessDenied") == 1


def test_refusals_are_counted_by_their_limit(day: Scrape) -> None:
    assert day.value("bedrock_chat_refusals_total", limit="published_quota") == 1


def test_a_worker_counts_into_the_same_files(day: Scrape) -> None:
    assert day.value("bedrock_chat_job_attempts_total", kind="published turn", outcome="done") == 1
    assert day.value("bedrock_chat_job_duration_seconds_count", kind="published turn") == 1
    assert day.value("bedrock_chat_workers") == 1
    assert day.value("bedrock_chat_processes", role="web") == day.value("bedrock_chat_processes", role="worker") == 1
    assert day.value("bedrock_chat_resident_memory_bytes", role="worker") > 20e6


def test_a_workers_turn_is_within_the_span_of_its_job(day: Scrape, collector: Collector) -> None:
    assert eventually(lambda: any(span.attributes.get(KIND) == "published turn" for span in collector.named("job")))
    [job] = [span for span in collector.named("job") if span.attributes[KIND] == "published turn"]
    [turn] = [span for span in collector.named("turn") if span.trace == job.trace]
    assert (turn.parent, turn.attributes["bedrock_chat.turn.caller"]) == (job.id, "publication")
    assert SECRET.encode() not in collector.bytes


def test_the_queue_is_read_from_the_database(server: LiveServer, day: Scrape) -> None:
    assert day.value("bedrock_chat_database_up") == 1
    assert day.value("bedrock_chat_jobs_scheduled", kind="compact search") == 1
    assert eventually(lambda: scrape(server).value("bedrock_chat_jobs_waiting", kind="index conversations") == 1, 8)
    time.sleep(0.2)
    seen = scrape(server)
    assert seen.value("bedrock_chat_jobs_oldest_wait_seconds", kind="index conversations") > 0.2
    queue = server.call("GET", "/ready")[1]["queue"]
    assert queue["waiting"] >= 1
    assert queue["oldestSeconds"] > 0.2


def test_what_is_open_just_now_is_told(server: LiveServer, alice: str) -> None:
    with asking(server, alice, "slow", "[[wait:30]]", message_id="q") as listener:
        listener.until("message_start")
        seen = scrape(server)
        assert server.call("POST", "/conversation", payload("too", "many"), token=alice)[0] == 429
        assert server.call("POST", "/conversation/slow/q/stop", token=alice)[0] == 200
        assert list(listener)[-1].name == "message_stop"
    assert seen.value("bedrock_chat_streams_open") == 1
    assert seen.value("bedrock_chat_turns_running") == 1
    assert seen.value("bedrock_chat_turn_places_taken") == 1
    assert seen.value("bedrock_chat_connections_open") >= 2
    assert eventually(lambda: scrape(server).value("bedrock_chat_streams_open") == 0)
    after = scrape(server)
    assert after.value("bedrock_chat_refusals_total", limit="turns_per_user") == 1
    assert after.value("bedrock_chat_turns_total", outcome="stopped") == 1
    assert after.value("bedrock_chat_model_calls_total", outcome="interrupted") == 1
    assert after.value("bedrock_chat_turns_running") == after.value("bedrock_chat_turn_places_taken") == 0


@pytest.fixture(scope="module")
def unlimited(server: LiveServer) -> LiveApi:
    return publish_live(server, "unlimited")


def test_chat_completions_and_streamed_questions_are_counted_once_as_turns_of_publications(
    server: LiveServer, unlimited: LiveApi
) -> None:
    api = unlimited
    before = scrape(server)
    chat = {"model": MODEL, "messages": [{"role": "user", "content": SECRET}]}
    streamed_chat = {**chat, "stream": True, "stream_options": {"include_usage": True}}
    whole, streamed = (
        httpx.post(f"{api.url}/v1/chat/completions", json=sent, headers=api.headers) for sent in (chat, streamed_chat)
    )
    assert streamed.text.endswith("data: [DONE]\n\n")
    headers = {**api.headers, "Accept": "text/event-stream", "Idempotency-Key": "k"}
    for _ in range(2):  # the second one joins the first
        assert "message_stop" in httpx.post(f"{api.url}/conversation", json=question(SECRET), headers=headers).text
    assert eventually(lambda: scrape(server).value("bedrock_chat_streams_open") == 0)
    after = scrape(server)

    def more(name: str, **labels: str) -> float:
        return after.value(name, **labels) - before.value(name, **labels)

    assert more("bedrock_chat_turns_total", caller="publication") == 3
    assert more("bedrock_chat_turns_total", caller="publication", outcome="answered") == 3
    assert more("bedrock_chat_turn_duration_seconds_count", caller="publication", mode="streamed") == 2
    assert more("bedrock_chat_turn_duration_seconds_count", caller="publication", mode="whole") == 1
    assert more("bedrock_chat_model_calls_total", model=MODEL, outcome="answered") == 3
    assert more("bedrock_chat_job_attempts_total", kind="published turn", outcome="done") == 1
    usage = whole.json()["usage"]
    assert more("bedrock_chat_model_tokens_total", model=MODEL, kind="input") == 3 * usage["prompt_tokens"]
    assert more("bedrock_chat_model_tokens_total", model=MODEL, kind="output") == 3 * usage["completion_tokens"]
    assert more("bedrock_chat_model_price_usd_total", model=MODEL) > 0
    assert after.value("bedrock_chat_turn_places_taken") == after.value("bedrock_chat_published_turns_undone") == 0


def test_requests_that_wait_are_told(server: LiveServer, unlimited: LiveApi) -> None:
    url, headers = f"{unlimited.url}/conversation", unlimited.headers
    ids = httpx.post(url, json=question("never answered"), headers=headers).json()
    path = f"{url}/{ids['conversationId']}/{ids['messageId']}"
    with ThreadPoolExecutor(1) as pool:
        waiter = pool.submit(httpx.get, f"{path}?wait=20", headers=headers, timeout=30)
        assert eventually(lambda: scrape(server).value("bedrock_chat_waits_open") == 1)
        assert httpx.post(f"{path}/stop", headers=headers).status_code == 200
        assert waiter.result().headers["X-Turn-Status"] == "failed"
    assert eventually(lambda: scrape(server).value("bedrock_chat_waits_open") == 0)


def test_no_label_tells_who_said_what(day: Scrape, key: str) -> None:
    assert SECRET not in day.text
    assert key not in day.text
    values = day.labels()
    assert not [value for value in values if re.search(r"local:|[0-9a-hjkmnp-tv-z]{26}", value, re.IGNORECASE)]
    assert len(values) < 200


def test_a_wrong_token_is_refused(server: LiveServer, alice: str) -> None:
    assert status_of(server)[0] == 401
    assert status_of(server, Authorization=f"Bearer {TOKEN}x")[0] == 401
    assert status_of(server, Authorization=TOKEN)[0] == 401
    assert status_of(server, Authorization="Bearer é")[0] == 401
    status, headers = status_of(server, Authorization=f"Bearer {alice}")
    assert (status, headers["www-authenticate"]) == (401, "Bearer")
    assert server.call("POST", "/metrics", {}, token=TOKEN)[0] == 405


def test_any_host_is_answered_in_the_format_that_is_asked_for(server: LiveServer) -> None:
    token = {"Authorization": f"Bearer {TOKEN}"}
    status, headers = status_of(server, **token, Host="10.1.2.3:9")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "text/plain")
    status, headers = status_of(server, **token, Accept="application/openmetrics-text; version=1.0.0")
    assert (status, headers["content-type"].partition(";")[0]) == (200, "application/openmetrics-text")
    assert headers["cache-control"] == "no-store"


@pytest.mark.both
def test_while_the_database_is_away_everything_else_is_told(
    database_url: str, tmp_path: Path, emulator_process: Emulator
) -> None:
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite is a file of this machine")
    with Proxy(Service(database_url)) as proxy:
        variables = {**SETTINGS, "DATABASE_URL": proxy.url, "DATABASE_TIMEOUT": "2"}
        with LiveServer(tmp_path, emulator_process.url, **variables) as server:
            assert scrape(server).value("bedrock_chat_database_up") == 1
            with proxy.having(STOPPED):
                for _ in range(2):  # the first one waits, the second one knows
                    begun = time.monotonic()
                    seen = scrape(server)
                    assert time.monotonic() - begun < 8
                    assert seen.value("bedrock_chat_database_up") == 0
                    assert seen.value("bedrock_chat_requests_total", route="/metrics") >= 1
                    assert seen.families["bedrock_chat_jobs_waiting"].samples == []
            assert eventually(lambda: scrape(server).value("bedrock_chat_database_up") == 1, 10)
