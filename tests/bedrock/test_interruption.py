"""A call can be ended from another thread, whatever it waits for, and no other call is disturbed."""

import datetime as dt
import socket
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bedrock_chat.bedrock import clients, connections, faults, runtime
from bedrock_chat.bedrock.converse_calls import ConverseCalls
from bedrock_chat.bedrock.events import TextDelta
from bedrock_chat.process.interruption import Interruption
from tests.bedrock.asking import ask, request_to_model
from tests.emulator import Emulator
from tests.together import wait_for

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


AT_ONCE = 2
"""Seconds: far below the time-outs of the calls below, and enough for a busy machine."""


def after(seconds: float) -> Callable[[], bool]:
    """A condition that holds once so much time has gone by."""
    holds_at = time.monotonic() + seconds
    return lambda: time.monotonic() >= holds_at


def ended_after(interrupt: Interruption, condition: Callable[[], object], call: Callable[[], Any]) -> float:
    """Seconds that the call went on after it was interrupted, which is done when the condition holds."""
    interrupted_at: list[float] = []

    def end() -> None:
        try:
            wait_for(condition)
        finally:
            interrupted_at.append(time.monotonic())
            interrupt.request()

    with ThreadPoolExecutor(1) as pool:
        ending = pool.submit(end)
        with pytest.raises(faults.ModelFault):
            call()
        ended_at = time.monotonic()
        ending.result()
    return ended_at - interrupted_at[0]


@BOTH
def test_a_model_silent_before_its_first_byte_is_left_at_once(emulator: Emulator, stream: bool) -> None:
    interrupt = Interruption()
    request = request_to_model("[[silence]]")
    call = partial(runtime.call, request, stream=stream, interrupt=interrupt)
    assert ended_after(interrupt, emulator.requests, lambda: list(call())) < AT_ONCE
    wait_for(lambda: emulator.requests()[-1]["outcome"] == "left")


def test_a_model_silent_in_mid_answer_is_left_at_once_and_what_it_said_is_kept(emulator: Emulator) -> None:
    interrupt, seen = Interruption(), list[Any]()
    request = request_to_model("[[words:20]] [[silence:after:5]]")

    def texts() -> list[Any]:
        return [event for event in seen if isinstance(event, TextDelta)]

    def listen() -> None:
        for event in runtime.call(request, stream=True, interrupt=interrupt):
            seen.append(event)

    assert ended_after(interrupt, lambda: len(texts()) == 5, listen) < AT_ONCE
    assert len(texts()) == 5


@BOTH
def test_a_call_interrupted_before_it_began_is_not_made(emulator: Emulator, stream: bool) -> None:
    interrupt = Interruption()
    interrupt.request()
    with pytest.raises(faults.ModelFault):
        list(runtime.call(request_to_model(), stream=stream, interrupt=interrupt))
    assert emulator.requests() == []


@BOTH
def test_interrupting_an_ended_call_leaves_the_next_one_on_its_connection_alone(
    emulator: Emulator, stream: bool
) -> None:
    interrupt = Interruption()
    list(runtime.call(request_to_model(), stream=stream, interrupt=interrupt))
    events = runtime.call(request_to_model("[[words:20]] [[pace:0.02]]"), stream=True)
    first = next(events)  # on the same connection that served the call before
    interrupt.request()
    assert len([first, *events]) > 20
    assert ask(stream=stream)


def test_a_connection_in_the_pool_serves_nobody(emulator: Emulator) -> None:
    interrupt = Interruption()
    list(runtime.call(request_to_model(), stream=True, interrupt=interrupt))
    assert not interrupt._endings
    interrupt.request()
    assert ask(stream=True)


def test_fifty_calls_interrupted_at_once_all_end(emulator: Emulator) -> None:
    interrupts = [Interruption() for _ in range(50)]
    ended = []

    def call(interrupt: Interruption) -> None:
        try:
            list(runtime.call(request_to_model("[[silence]]"), stream=True, interrupt=interrupt))
        except faults.ModelFault:
            ended.append(interrupt)

    threads = [threading.Thread(target=call, args=(interrupt,)) for interrupt in interrupts]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(emulator.requests()) < 50:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for interrupt in interrupts:
        interrupt.request()
    for thread in threads:
        thread.join(5)
    assert len(ended) == 50


@pytest.fixture
def silent_tls(tmp_path: Path) -> Any:
    """The port of a server that completes the TLS handshake, reads, and never sends anything."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = dt.datetime.now(dt.UTC)
    certificate = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + dt.timedelta(hours=1))
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as tls:
                while tls.recv(65536):
                    pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_silent_tls_connection_is_left_at_once_too(silent_tls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=f"https://127.0.0.1:{silent_tls}",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        verify=False,
        config=Config(retries={"total_max_attempts": 1}, parameter_validation=False),
    )
    connections.install(client)
    monkeypatch.setattr(clients, "converse_calls", lambda: ConverseCalls(client))
    interrupt = Interruption()
    request = request_to_model()
    call = partial(runtime.call, request, stream=True, interrupt=interrupt)
    assert ended_after(interrupt, after(0.5), lambda: list(call())) < AT_ONCE
