"""The server as a process: how it starts, how it reports that it cannot, and how it ends."""

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.forking import client as forking

ROOT = Path(__file__).resolve().parent.parent.parent
SERVE = "from bedrock_chat.serving import server; server.run(on_started=lambda address: print(address, flush=True))"


class Process:
    def __init__(self, folder: Path, before: str = "", **environment: str) -> None:
        env = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.serving.settings", "SERVER_TEST_FOLDER": str(folder)}
        self.process = forking.Popen(
            [sys.executable, "-c", f"{before}\n{SERVE}"],
            cwd=ROOT,
            env={**env, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def port(self) -> int:
        assert self.process.stdout is not None
        address = re.fullmatch(r"http://127\.0\.0\.1:(\d+)\n", self.process.stdout.readline())
        assert address, self.process.communicate()
        return int(address[1])

    def end(self, seconds: float = 10) -> tuple[int, str]:
        """The exit status and the text on stderr."""
        _, errors = self.process.communicate(timeout=seconds)
        return self.process.returncode, errors


@pytest.fixture
def started(tmp_path: Path) -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for server in processes:
        if server.process.poll() is None:
            server.process.kill()
            server.process.communicate()


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


def test_a_port_in_use_is_told_in_one_sentence(tmp_path: Path, started: list[Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        started.append(Process(tmp_path, PORT=str(port)))
        status, errors = started[0].end()
    assert status == 1
    assert (
        errors == f"Port {port} of 127.0.0.1 is in use: stop the program that holds it, or set PORT to another one.\n"
    )


def test_an_address_of_another_machine_is_told_in_one_sentence(tmp_path: Path, started: list[Process]) -> None:
    started.append(Process(tmp_path, before="import tests.serving.settings as s; s.HOST = '192.0.2.1'"))
    status, errors = started[0].end()
    assert status == 1
    assert errors.startswith("HOST=192.0.2.1, PORT=0 cannot be listened on: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing_behind(
    number: signal.Signals, tmp_path: Path, started: list[Process]
) -> None:
    started.append(Process(tmp_path))
    port = started[0].port()
    assert get(port, "/nap") == (200, b"rested")
    started[0].process.send_signal(number)
    status, errors = started[0].end()
    assert status == 0
    assert "Traceback" not in errors
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_a_running_request_is_finished_first(tmp_path: Path, started: list[Process]) -> None:
    started.append(Process(tmp_path, before=OPENS_LATE))
    port = started[0].port()
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(get(port, "/wait")))
    client.start()
    time.sleep(0.3)
    started[0].process.send_signal(signal.SIGTERM)
    status, errors = started[0].end()
    client.join()
    assert answers == [(200, b"done")]
    assert (status, "Traceback" in errors) == (0, False)


OPENS_LATE = """
import threading
from tests.serving.urls import stage
threading.Timer(2.5, stage.gate.set).start()
"""


def test_a_request_that_outlasts_the_grace_is_told_so(tmp_path: Path, started: list[Process]) -> None:
    started.append(Process(tmp_path, SHUTDOWN_GRACE="1"))
    port = started[0].port()
    answers: list[tuple[int, bytes]] = []
    client = threading.Thread(target=lambda: answers.append(get(port, "/wait")))
    client.start()
    time.sleep(0.3)
    begun = time.monotonic()
    started[0].process.send_signal(signal.SIGTERM)
    status, _ = started[0].end()
    client.join()
    assert time.monotonic() - begun < 15
    assert status == 0
    assert answers[0][0] == 503
    assert b'"detail":"The server is shutting down."' in answers[0][1]


def test_a_second_signal_means_now(tmp_path: Path, started: list[Process]) -> None:
    started.append(Process(tmp_path, SHUTDOWN_GRACE="30"))
    port = started[0].port()
    client = socket.create_connection(("127.0.0.1", port))
    client.sendall(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(0.3)
    begun = time.monotonic()
    started[0].process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert started[0].process.poll() is None
    started[0].process.send_signal(signal.SIGTERM)
    assert started[0].end()[0] == 0
    assert time.monotonic() - begun < 15
    client.close()


def test_too_few_descriptors_are_said(tmp_path: Path, started: list[Process]) -> None:
    before = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))\n"
        "refuse = lambda what, limits: (_ for _ in ()).throw(ValueError('not allowed'))\n"
        "resource.setrlimit = refuse"
    )
    started.append(Process(tmp_path, before=before, THREADS="1000"))
    started[0].port()
    started[0].process.send_signal(signal.SIGTERM)
    log = started[0].end()[1]
    assert "CONNECTIONS is lowered from 4096 to 64: with THREADS=1000 it needs 7224 open files" in log
    assert "the system allows 64" in log


def test_descriptors_are_raised_where_the_system_allows(tmp_path: Path, started: list[Process]) -> None:
    before = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 9000))"
    started.append(Process(tmp_path, before=before, THREADS="100"))
    started[0].port()
    limits = Path(f"/proc/{started[0].process.pid}/limits")
    if not limits.exists():
        pytest.skip("/proc is Linux's")
    assert re.search(r"Max open files\s+4524\s", limits.read_text())  # 3 × THREADS + CONNECTIONS + 128
