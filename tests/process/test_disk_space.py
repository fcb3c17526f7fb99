"""A disk that is full, or nearly so: `/ready` names what is on it."""

import errno
import os
import sqlite3
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.resilience import disk_space
from bedrock_chat.resilience.dependencies import State, reason
from bedrock_chat.resilience.disk_space import require_room
from tests.conversations.chat import payload
from tests.live import LiveServer
from tests.serving.conftest import eventually
from tests.stalling import once

MEGABYTE = 1024 * 1024
Mount = Callable[..., Path]


@pytest.fixture(scope="module")
def mount(data: Path) -> Iterator[Mount]:
    """Makes small disks: `mount("storage", size="24m")`."""
    mounted: list[Path] = []

    def make(name: str, **options: str) -> Path:
        folder = data / name
        folder.mkdir()
        words = ",".join(f"{option}={value}" for option, value in options.items())
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", words, "tmpfs", str(folder)], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
        mounted.append(folder)
        return folder

    if os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, leaving: int = 0) -> Path:
    """Writes one file, until so many bytes are free."""
    path = folder / "large"
    stat = os.statvfs(folder)
    with path.open("wb") as file, suppress(OSError):
        file.write(bytes(stat.f_bavail * stat.f_frsize - leaving))
    return path


def error_of(folder: Path) -> OSError:
    with pytest.raises(OSError) as refused:
        require_room(folder)
    return refused.value


def test_a_disk_counts_as_full_before_its_last_bytes_are_used(mount: Mount) -> None:
    disk = mount("nearly", size="32m")
    require_room(disk / "not" / "made" / "yet")
    large = fill(disk, leaving=disk_space.RESERVE_BYTES - MEGABYTE)
    assert error_of(disk).errno == errno.ENOSPC
    assert reason(error_of(disk)) == State.FULL
    large.unlink()
    require_room(disk)
    assert not list(disk.glob("*.*"))  # nothing is left behind


def test_a_disk_where_nothing_can_be_written_counts_as_full_whatever_is_free(mount: Mount) -> None:
    """Without inodes."""
    assert reason(error_of(mount("inodes", size="32m", nr_inodes="1"))) == State.FULL


def test_a_disk_that_is_read_only_is_failing(mount: Mount) -> None:
    disk = mount("read-only", size="32m")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert reason(error_of(disk)) == State.FAILING


@pytest.mark.django_db(transaction=True)
def test_readiness_names_the_storage_that_is_full(mount: Mount, settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs, temporary = mount("blobs", size="32m"), mount("temporary", size="32m")
    default = {**settings.STORAGES["default"], "OPTIONS": {"location": blobs}}
    settings.STORAGES = {**settings.STORAGES, "default": default}
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def states() -> tuple[str, ...]:
        response = APIClient().get("/ready")
        assert response.status_code == 200
        return tuple(response.json()[name] for name in ("database", "storage", "temporary"))

    assert states() == ("ok", "ok", "ok")
    large = fill(blobs)
    assert states() == ("ok", "full", "ok")
    fill(temporary)
    assert states() == ("ok", "full", "full")
    large.unlink()
    assert states() == ("ok", "ok", "full")


def is_log_empty(database: Path) -> bool:
    """Empties SQLite's log, unless somebody reads from it just now."""
    with closing(sqlite3.connect(database)) as connection:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy


def assert_nothing_is_written(server: LiveServer, token: str) -> None:
    file = {"contentType": "attachment", "fileName": "notes.txt", "body": "bm90ZXM="}
    for method, path, body, status in (
        ("POST", "/conversation", payload("c1", "hello " * 2000), 503),
        ("POST", "/conversation", payload("c1", [file, {"contentType": "text", "body": "hello"}]), 503),
        ("DELETE", "/conversation/c0", None, 507),
        ("DELETE", "/conversations", None, 507),
    ):
        answer = server.call(method, path, body, token=token)
        assert (answer[0], "A storage of this server is full" in answer[1]["detail"]) == (status, True), answer


@once
@pytest.mark.slow
def test_a_server_whose_database_has_no_room_says_so_and_is_left_in_the_balancer(mount: Mount, tmp_path: Path) -> None:
    disk = mount("database", size="64m")
    variables = {"DATABASE_URL": f"sqlite:///{disk / 'chat.sqlite3'}", "MODEL_RETRY_SECONDS": "1"}
    with LiveServer(tmp_path, "http://127.0.0.1:9", **variables) as server:
        token = server.manage("issue_token", "alice")
        server.call("POST", "/conversation", payload("c0", "hello"), token=token)  # stored, and not answered
        _, stored = server.call("GET", "/conversation/c0", token=token)
        for free in (disk_space.RESERVE_BYTES - MEGABYTE, 0):
            assert eventually(lambda: is_log_empty(disk / "chat.sqlite3"))  # else it has room of its own
            large = fill(disk, free)
            status, body = server.call("GET", "/ready")
            assert (status, body["database"], body["storage"]) == (200, "full", "ok")
            assert server.call("GET", "/health")[0] == 200
            assert server.call("GET", "/conversation/c0", token=token) == (200, stored)  # what only reads goes on
            if not free:
                assert_nothing_is_written(server, token)
            large.unlink()
            assert eventually(lambda: server.call("GET", "/ready")[1]["database"] == "ok")
        assert server.call("DELETE", "/conversation/c0", token=token)[0] == 200
