"""A bucket that stalls: an operation is bounded in total, bodies included, and is told as a 503."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import botocore.exceptions
import pytest
from django.core.files.base import ContentFile

from bedrock_chat.blobs import s3_storage
from bedrock_chat.blobs.s3_storage import STORAGE, S3Files, StorageUnavailable
from bedrock_chat.blobs.waiting_files import WaitingFile
from bedrock_chat.resilience.dependencies import State
from tests.servers import BUCKET, s3
from tests.serving.conftest import eventually
from tests.stalling import FAULTS, SLOW_DRIP, STOPPED, Proxy, once

TIMEOUT = 1.5
LONGEST = TIMEOUT + 3.5  # two seconds of pauses between tries, and the rest for a busy machine
AT_ONCE = 1.2  # seconds that a busy machine may take for what waits for nothing; less than TIMEOUT
WAITING = WaitingFile("x", 1000, "the tag of some upload")
LARGE = os.urandom(8 * 1024 * 1024)


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxy]:
    with s3() as bucket, Proxy(bucket) as proxy:
        yield proxy


@pytest.fixture
def files(proxy: Proxy, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Files]:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": proxy.url,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)
    options = {"bucket": BUCKET, "region": "us-east-1", "timeout": TIMEOUT}
    backend = {"BACKEND": "bedrock_chat.blobs.s3_storage.S3Files", "OPTIONS": options}
    settings.STORAGES = {**settings.STORAGES, "default": backend}
    S3Files(**{**options, "timeout": 30.0}).save("x", ContentFile(b"x" * 1000))
    yield S3Files(**options)
    assert eventually(lambda: not STORAGE.is_away, 10)


def seconds_until_refused(operation: Callable[[], object]) -> float:
    started = time.monotonic()
    with pytest.raises(StorageUnavailable) as refused:
        operation()
    assert (refused.value.status_code, refused.value.headers["Retry-After"]) == (503, "5")
    return time.monotonic() - started


OPERATIONS: dict[str, Callable[[S3Files], object]] = {
    "read": lambda files: files.open("x"),
    "write": lambda files: files.save("y", ContentFile(LARGE)),
    "exists": lambda files: files.exists("x"),
    "size": lambda files: files.size("x"),
    "delete": lambda files: files.delete("y"),
    "look": lambda files: files.look("x"),
    "list": lambda files: list(files.waiting("x")),
    "digest": lambda files: files.sha256(WAITING),
    "copy": lambda files: files.copy(WAITING, "y"),
}


@once
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("operation", ["read", "write"])
def test_an_operation_is_ended_in_time_and_the_storage_is_left_alone_until_it_answers(
    files: S3Files, proxy: Proxy, operation: str, fault: str
) -> None:
    with proxy.having(fault):
        assert seconds_until_refused(lambda: OPERATIONS[operation](files)) < LONGEST
        assert (STORAGE.is_away, STORAGE.state) == (True, State.NO_ANSWER)
        for other in OPERATIONS.values():
            assert seconds_until_refused(lambda other=other: other(files)) < AT_ONCE  # type: ignore[misc]
    assert eventually(lambda: not STORAGE.is_away, 10)
    assert eventually(lambda: files.exists("x"), 10)


def test_a_body_that_drips_is_not_waited_for(files: S3Files, proxy: Proxy) -> None:
    """Each read of it is in time."""
    with proxy.having(SLOW_DRIP):
        assert seconds_until_refused(lambda: files.open("x")) < LONGEST


def test_however_many_want_a_file_few_threads_wait_for_the_storage(
    files: S3Files, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_storage, "_places", threading.BoundedSemaphore(1))
    monkeypatch.setattr(s3_storage, "QUEUE_SECONDS", 0.2)
    with proxy.having(STOPPED):
        first = threading.Thread(target=lambda: seconds_until_refused(lambda: files.open("x")))
        first.start()
        time.sleep(0.2)
        assert seconds_until_refused(lambda: files.open("x")) < AT_ONCE
        first.join()


@pytest.mark.parametrize(
    ("status", "error"), [(500, StorageUnavailable), (503, StorageUnavailable), (403, botocore.exceptions.ClientError)]
)
def test_a_fault_of_s3_is_a_503_and_a_wrong_permission_is_not(
    files: S3Files, monkeypatch: pytest.MonkeyPatch, status: int, error: type[Exception]
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{server.server_port}")
    with pytest.raises(error):
        S3Files(BUCKET, region="us-east-1", timeout=10).open("x")
    assert not STORAGE.is_away
    server.shutdown()
    server.server_close()
    thread.join()


def test_what_asks_for_credentials_has_time_outs_too() -> None:
    from bedrock_chat.bedrock import clients

    config = clients.new_session().client("sts", region_name="us-east-1").meta.config
    assert config.connect_timeout + config.read_timeout < 10
    assert config.retries["total_max_attempts"] == 2
