"""`make run` brings up the whole product, and takes all of it down again."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from bedrock_chat.management.commands.run import Command
from tests.live import LiveServer

ROOT = Path(__file__).resolve().parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def children(pid: int) -> list[int]:
    """Those of all threads: the heartbeat begins anew what has ended."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for children in lists for child in children.read_text().split()]


def worker_of(pid: int) -> int:
    """The worker among its children; 0 where there is none, or none yet."""
    commands = {child: Path(f"/proc/{child}/cmdline").read_bytes() for child in children(pid)}
    return next((child for child, command in commands.items() if b"run_worker" in command), 0)


def said_within(seconds: float, url: str, text: str) -> None:
    deadline = time.monotonic() + seconds
    while text not in urllib.request.urlopen(url).read().decode():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_it_says_how_an_operator_gets_a_new_password(capsys: pytest.CaptureFixture[str]) -> None:
    Command()._greet(None, "operator", None)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("Console"))
    command = shlex.split(line.partition("new password: ")[2])
    assert command[-2:] == ["changepassword", "operator"]
    assert subprocess.run([*command[:-1], "--help"], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_it_serves_works_and_leaves_nothing_running(tmp_path: Path) -> None:
    port = free_port()
    settings = {"PORT": str(port), "EMULATOR_PORT": str(free_port()), "DATA_DIR": str(tmp_path)}
    environment = {**LiveServer(tmp_path, "").environment, **settings}
    del environment["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"]
    run = subprocess.Popen(
        [sys.executable, "manage.py", "run"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        assert run.stdout is not None
        output = ""
        while "Ctrl-C stops it." not in output:
            line = run.stdout.readline()
            assert line, output
            output += line
        assert f"http://localhost:{port}/chat#token=" in output
        curl = next(line for line in output.splitlines() if line.startswith("curl"))
        done = subprocess.run(["sh", "-c", curl], capture_output=True, text=True, check=True)
        assert "Echo: Hello!" in done.stdout
        processes = [run.pid, *children(run.pid)]
        assert len(processes) == 3  # the API, the emulator, a worker
        said_within(20, f"http://127.0.0.1:{port}/ready", '"worker":"ok"')
        os.kill(worker_of(run.pid), signal.SIGKILL)
        until = time.monotonic() + 20
        while worker_of(run.pid) in (0, *processes):
            assert time.monotonic() < until
            time.sleep(0.1)
        processes = [run.pid, *children(run.pid)]
        assert len(processes) == 3  # another worker has come
        os.killpg(run.pid, signal.SIGINT)  # what Ctrl-C does
        assert run.wait(15) == 0
        while any(Path(f"/proc/{pid}").exists() for pid in processes[1:]):
            assert time.monotonic() < until + 35
            time.sleep(0.1)
    finally:
        run.kill()
        run.communicate()
