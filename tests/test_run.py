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
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


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
        deadline = time.monotonic() + 20
        while '"worker":"ok"' not in urllib.request.urlopen(f"http://127.0.0.1:{port}/ready").read().decode():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        os.killpg(run.pid, signal.SIGINT)  # what Ctrl-C does
        assert run.wait(15) == 0
        while any(Path(f"/proc/{pid}").exists() for pid in processes[1:]):
            assert time.monotonic() < deadline + 15
            time.sleep(0.1)
    finally:
        run.kill()
        run.communicate()
