"""One client per process, configured explicitly. Its connections return to the pool however a call ends."""

import gc
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import botocore
import pytest

from bedrock_chat.bedrock import clients, faults, runtime
from bedrock_chat.bedrock.events import Closed, MessageStart, TextDelta
from tests.bedrock.asking import ask, hello, kinds, request_to_model
from tests.bedrock.scripted import HELLO, START, ScriptedBedrock, Stream, delta, exception

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def test_twenty_threads_that_ask_at_once_share_one_client(bedrock: ScriptedBedrock, monkeypatch: Any) -> None:
    calls = []
    make_client = clients._make_client

    def counted() -> Any:
        calls.append(1)
        time.sleep(0.05)
        return make_client()

    monkeypatch.setattr(clients, "_make_client", counted)
    barrier = threading.Barrier(20)

    def first() -> Any:
        barrier.wait()
        return clients.bedrock_runtime()

    with ThreadPoolExecutor(20) as pool:
        client_ids = {id(future.result()) for future in [pool.submit(first) for _ in range(20)]}
    assert len(client_ids) == len(calls) == 1


def test_the_client_is_configured_explicitly(bedrock: ScriptedBedrock, settings: Any, monkeypatch: Any) -> None:
    settings.TURNS = 7
    settings.MODEL_READ_TIMEOUT, settings.MODEL_CONNECT_TIMEOUT = 3600, 5
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "9")
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")
    clients.reset()
    config = clients.bedrock_runtime().meta.config
    assert config.retries == {"mode": "standard", "total_max_attempts": 1}
    assert (config.read_timeout, config.connect_timeout, config.max_pool_connections) == (3600, 5, 7)
    assert config.tcp_keepalive is True


def test_botocore_spends_no_time_on_validating_what_bedrock_validates(bedrock: ScriptedBedrock) -> None:
    bedrock.play(hello(stream=False))
    request = request_to_model()
    request.body["inferenceConfig"] = {"maxTokens": 0}
    ask(request, stream=False)
    assert bedrock.requests[0][2]["inferenceConfig"] == {"maxTokens": 0}


@BOTH
def test_the_user_agent_is_fixed(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(hello(stream=stream))
    ask(stream=stream)
    ask(stream=stream)
    [sent] = {headers["User-Agent"] for _, headers, _ in bedrock.requests}
    assert sent == f"bedrock-chat Botocore/{botocore.__version__}"  # and nothing of what botocore would add


def test_the_emulator_needs_nothing_of_this_machines_aws_configuration(
    bedrock: ScriptedBedrock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "config"
    broken.write_text("[profile\nnonsense")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_PROFILE", "not-there")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(broken))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(broken))
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "meant-for-aws")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    clients._emulator_session.cache_clear()
    clients.reset()
    bedrock.play(hello(stream=False))
    assert kinds(ask(stream=False))[-1] is Closed
    assert bedrock.requests[0][1]["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=emulator/")


def test_without_credentials_for_aws_the_call_is_502_and_says_so(
    bedrock: ScriptedBedrock, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    settings.BEDROCK = "aws"
    clients.reset()
    with pytest.raises(faults.NoCredentials) as caught:
        ask(stream=True)
    assert caught.value.status_code == 502
    assert bedrock.requests == []


@BOTH
def test_a_connection_serves_again_after_its_answer(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(hello(stream=stream))
    for _ in range(5):
        ask(stream=stream)
    assert bedrock.connections == 1


@pytest.mark.parametrize(
    "broken",
    [
        Stream((START, delta("Half"), exception("modelStreamErrorException"))),
        Stream((START, delta("Half")), ends="cut"),
        Stream((START, delta("Half")), ends="closed"),
    ],
    ids=["fault", "cut", "incomplete"],
)
def test_fifty_broken_streams_leave_no_connection_behind(
    bedrock: ScriptedBedrock, settings: Any, caplog: pytest.LogCaptureFixture, broken: Stream
) -> None:
    settings.TURNS = 4
    clients.reset()
    bedrock.play(broken)
    sockets = _sockets()
    for _ in range(50):
        with pytest.raises(faults.ModelFault):
            ask(stream=True)
    assert _settles(sockets + 1)
    gc.collect()
    assert "pool is full" not in caplog.text
    bedrock.play(Stream(HELLO))
    connections = bedrock.connections
    for _ in range(5):
        ask(stream=True)
    assert bedrock.connections <= connections + 1


def test_closing_a_stream_early_closes_its_connection_at_once(bedrock: ScriptedBedrock) -> None:
    bedrock.play(Stream((START, delta("Half an answer")), ends="silent"))
    client = clients.bedrock_runtime()
    sockets = _sockets()
    gc.disable()  # `close()` must do it, not the garbage collector
    try:
        for _ in range(3):
            events = runtime.call(request_to_model(), stream=True)
            assert isinstance(next(events), MessageStart)
            assert isinstance(next(events), TextDelta)
            events.close()  # type: ignore[attr-defined]
        assert _settles(sockets + 3)  # the scripted server's ends, which still wait
    finally:
        gc.enable()
    assert clients.bedrock_runtime() is client


def _settles(most: int) -> bool:
    """Whether at most `most` sockets are open within 2 s. The server's threads close their ends a moment later."""
    deadline = time.monotonic() + 2
    while _sockets() > most and time.monotonic() < deadline:
        time.sleep(0.01)
    return _sockets() <= most


def _sockets() -> int:
    """The number of open sockets of this process, including those of the scripted server."""
    count = 0
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket:")
        except OSError:
            continue
    return count
