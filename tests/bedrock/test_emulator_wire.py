"""The emulator as a server and as a process: frames, HTTP, its start and its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.eventstream import EventStreamBuffer

from bedrock_chat.bedrock.emulator import framing
from tests.bedrock.boto import SONNET, user
from tests.emulator import ROOT, Emulator
from tests.forking import client as forking

BODY = json.dumps({"messages": [user("hello")]})


def exchange(emulator: Emulator, request: bytes, until: bytes = b"") -> bytes:
    """Everything that the server answers to these bytes, up to `until` or the end of the connection."""
    received = b""
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as peer:
        peer.sendall(request)
        while not (until and received.endswith(until)) and (data := peer.recv(65_536)):
            received += data
    return received


def request(operation: str = "converse", body: str = BODY, fields: str = "", model: str = SONNET) -> bytes:
    head = f"POST /model/{model}/{operation} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{fields}\r\n"
    return (head + body).encode()


# ---- Frames ---------------------------------------------------------------------------------------------------------


def test_a_frame_is_what_botocore_decodes() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(
        framing.event("messageStop", {"stopReason": "end_turn"}) + framing.exception("throttlingException", "Slow.")
    )
    event, exception = buffer
    assert event.headers == {
        ":event-type": "messageStop",
        ":content-type": "application/json",
        ":message-type": "event",
    }
    assert json.loads(event.payload) == {"stopReason": "end_turn"}
    assert exception.headers[":message-type"] == "exception"
    assert exception.headers[":exception-type"] == "throttlingException"
    assert json.loads(exception.payload) == {"message": "Slow."}


def test_a_stream_is_chunked_one_event_a_chunk(emulator: Emulator) -> None:
    head, _, rest = exchange(emulator, request("converse-stream"), until=b"\r\n0\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Type: application/vnd.amazon.eventstream" in head
    assert b"Transfer-Encoding: chunked" in head
    events = 0
    while size := int(rest.split(b"\r\n", 1)[0], 16):
        data = rest.split(b"\r\n", 1)[1]
        assert int.from_bytes(data[:4], "big") == size
        rest = data[size + 2 :]
        events += 1
    assert events == 8


# ---- HTTP -----------------------------------------------------------------------------------------------------------


def test_a_connection_is_kept_for_the_next_request(emulator: Emulator) -> None:
    last = request(fields="Connection: close\r\n")
    received = exchange(emulator, request() + request("converse-stream") + last)
    assert received.count(b"HTTP/1.1 200 OK") == 3


def test_a_request_may_come_in_small_pieces(emulator: Emulator) -> None:
    address = urlsplit(emulator.url)
    with socket.create_connection((address.hostname, address.port), timeout=5) as peer:
        for byte in request(fields="Connection: close\r\n"):
            peer.sendall(bytes([byte]))
        assert peer.recv(15) == b"HTTP/1.1 200 OK"


def test_an_arn_may_stand_in_the_path_unencoded(emulator: Emulator) -> None:
    arn = f"arn:aws:bedrock:us-east-1::foundation-model/{SONNET}"
    assert exchange(emulator, request(model=arn, fields="Connection: close\r\n")).startswith(b"HTTP/1.1 200 OK")
    assert emulator.requests()[0]["model"] == arn


def test_curl_is_told_to_go_on_with_a_long_body(emulator: Emulator) -> None:
    received = exchange(emulator, request(fields="Expect: 100-continue\r\nConnection: close\r\n"))
    assert received.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nContent-Length: many\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"GET /" + b"x" * 70_000, b"431"),
        (b"GET /nowhere HTTP/1.0\r\n\r\n", b"404"),
        (b"POST /model/m/count-tokens HTTP/1.0\r\n\r\n", b"404"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
        (request(body="{", fields="Connection: close\r\n"), b"400"),
        (request(body="[]", fields="Connection: close\r\n"), b"400"),
    ],
)
def test_what_it_does_not_understand_it_says(emulator: Emulator, sent: bytes, status: bytes) -> None:
    assert exchange(emulator, sent).split(b" ")[1] == status


def test_errors_carry_their_name_in_a_header(emulator: Emulator) -> None:
    received = exchange(emulator, request(body="{}", fields="Connection: close\r\n"))
    assert b"x-amzn-ErrorType: ValidationException\r\n" in received


# ---- The process ----------------------------------------------------------------------------------------------------


def start(*options: str, module: tuple[str, ...] = ("-m", "bedrock_chat.bedrock.emulator")) -> subprocess.Popen[str]:
    command = [sys.executable, *module, *options]
    return forking.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.kill()
    return process.communicate(timeout=5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once(number: signal.Signals) -> None:
    process = start("--port", "0")
    assert process.stdout is not None
    address = urlsplit(process.stdout.readline().split()[-1])
    with socket.create_connection((address.hostname, address.port), timeout=5) as peer:
        peer.sendall(request(body=json.dumps({"messages": [user("[[silence]]")]})))
        time.sleep(0.05)
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(5) == 0
        assert time.monotonic() - started < 4
    assert end(process) == ("", "")


def test_the_command_is_the_same_emulator() -> None:
    process = start("--port", "0", module=("manage.py", "bedrock_emulator"))
    assert process.stdout is not None
    assert process.stdout.readline().startswith("Bedrock emulator on http://127.0.0.1:")
    end(process)


def test_the_command_listens_where_the_server_looks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMULATOR_PORT", "0")
    process = start(module=("manage.py", "bedrock_emulator"))
    assert process.stdout is not None
    assert not process.stdout.readline().rstrip().endswith(":8001")
    end(process)


def test_a_taken_port_is_one_sentence(emulator: Emulator) -> None:
    process = start("--port", str(urlsplit(emulator.url).port))
    output, errors = process.communicate(timeout=10)
    assert (process.returncode, output) == (1, "")
    assert errors.count("\n") == 1
    assert "cannot listen on 127.0.0.1" in errors


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "bedrock_chat.bedrock.emulator", "--port", "0", "--exit-with-parent"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_it_goes_when_its_parent_is_killed(tmp_path: Path) -> None:
    parent = start("-c", PARENT, module=())
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert parent.stdout.readline().startswith("Bedrock emulator on")
    os.kill(child, signal.SIGINT)  # Ctrl-C is the parent's to handle
    time.sleep(0.3)
    os.kill(child, 0)
    parent.kill()
    parent.wait(5)
    until = time.monotonic() + 5
    while _is_alive(child):
        assert time.monotonic() < until, "the emulator outlived its parent"
        time.sleep(0.02)


def _is_alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
