"""A process that begins as a copy is like one that was started: with its own environment, descriptors and end."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.forking import client
from tests.live import ROOT

copied = pytest.mark.skipif(not client.CAN_COPY, reason="this system or this Python makes real starts alone")

TELL = """
import json, os, sys
from django.conf import settings
from django.db import connection
facts = {
    "arguments": sys.argv[1:], "parent": os.getppid(), "session": os.getsid(0) == os.getpid(),
    "descriptors": len(os.listdir("/proc/self/fd")), "line": sys.stdin.readline(), "variables": dict(os.environ),
    "turns": settings.TURNS, "database": str(connection.settings_dict["NAME"]), "name": __name__,
    "is_copy": "tests.forking.server" in sys.orig_argv,
}
print(json.dumps(facts))
print("on stderr", file=sys.stderr)
sys.exit(3)
"""


@pytest.fixture(scope="module")
def environment(data: Path) -> Iterator[dict[str, str]]:
    """Of a kind of its own, of which there has been one start: the next ones are copies."""
    kept = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    own = {**kept, "DEBUG": "true", "DATA_DIR": str(data), "CHECKPOINT_SECONDS": "2.25"}
    client._starts[client._kind(own)] += 1
    yield own
    if server := client._servers.pop(client._kind(own), None):
        server.end()


def tell(environment: dict[str, str], *arguments: str, **options: Any) -> dict[str, Any]:
    command = [sys.executable, "-c", TELL, *arguments]
    done = client.run(command, cwd=ROOT, env=environment, sent="a line\n", capture_output=True, text=True, **options)
    assert (done.returncode, done.stderr) == (3, "on stderr\n")
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@copied
def test_a_copy_has_what_a_process_is_started_with(environment: dict[str, str], data: Path) -> None:
    facts = tell({**environment, "TURNS": "17"}, "a", "b c", start_new_session=True)
    assert facts.pop("is_copy")
    assert facts.pop("variables") == {**environment, "TURNS": "17"}
    assert facts == {
        "arguments": ["a", "b c"],
        "parent": os.getpid(),
        "session": True,
        "descriptors": 4,  # the standard ones, and the folder that is read
        "line": "a line\n",
        "turns": 17,
        "database": str(data / "bedrock-chat.sqlite3"),
        "name": "__main__",
    }
    another = tell({**environment, "DATA_DIR": str(data / "another")})
    assert another["is_copy"]
    assert (another["turns"], another["session"]) == (448, False)
    assert another["database"] == str(data / "another" / "bedrock-chat.sqlite3")


def test_a_copy_is_killed_like_any_process(environment: dict[str, str]) -> None:
    command = [sys.executable, "-c", "import time; print('here', flush=True); time.sleep(60)"]
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = client.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        assert process.poll() is None
        process.send_signal(number)
        assert process.wait(30) == -number
        process.stdout.close()


@copied
def test_settings_that_imports_have_read_make_a_real_start(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = [name for name in client.READ_BY_IMPORTS if name != "TURN_LEASE_SECONDS"]
    monkeypatch.setattr(client, "READ_BY_IMPORTS", listed)
    client._starts[client._kind(environment)] += 1
    assert tell(environment)["is_copy"]
    assert not tell({**environment, "TURN_LEASE_SECONDS": "9"})["is_copy"]


@copied
def test_a_wrong_setting_is_told_as_at_a_real_start(environment: dict[str, str]) -> None:
    assert tell(environment)["is_copy"]
    command = [sys.executable, "manage.py", "check"]
    wrong = {**environment, "THREADS": "many"}
    done = client.run(command, cwd=ROOT, env=wrong, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Configuration: THREADS must be a whole number, not 'many'.\n"


@copied
def test_the_first_start_is_a_copy_without_the_product_whatever_its_environment(
    environment: dict[str, str], data: Path
) -> None:
    for number in range(2):
        own = {**environment, "CHECKPOINT_SECONDS": f"3.{number}5", "TURNS": f"1{number}"}
        facts = tell(own)
        assert (facts["is_copy"], facts["turns"], facts["variables"]) == (True, 10 + number, own)
    assert not tell({**environment, "CHECKPOINT_SECONDS": "4.5", "PYTHONUTF8": "1"})["is_copy"]


def test_a_python_that_starts_processes_otherwise_makes_real_starts(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_otherwise(self: Any, args: Any, executable: Any, a_new_one: Any, *others: Any) -> None:
        raise NotImplementedError

    assert client._is_known()
    with monkeypatch.context() as another:
        another.setattr(subprocess.Popen, "_execute_child", start_otherwise)
        assert not client._is_known()
    monkeypatch.setattr(client, "CAN_COPY", False)
    assert not tell(environment)["is_copy"]
