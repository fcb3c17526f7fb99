"""Uploads to an address of this server's own: streamed to disk, once, bounded, and removed when nobody keeps them."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings as django_settings
from django.core import signing
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.test import RequestFactory
from django.utils import timezone

from bedrock_chat.blobs import upload_links, uploads
from bedrock_chat.blobs.models import UsedUploadLink
from bedrock_chat.identity import local
from bedrock_chat.identity.models import User
from bedrock_chat.process.budget import Budget
from bedrock_chat.serving import request_body
from bedrock_chat.wire.errors import TooManyRequests
from tests.serving.conftest import Live, eventually, read_to_end, serving, small_disk
from tests.together import at_once

__all__ = ["small_disk"]
pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

MEGABYTE = 1024 * 1024
TEXT = "text/plain"
NAME = uploads.name_of("user:alice", "a.txt")


@pytest.fixture(scope="module")
def server() -> Iterator[Live]:
    """A server that takes files of 1 MB."""
    own = {"ROOT_URLCONF": "bedrock_chat.urls", "MIDDLEWARE": django_settings.MIDDLEWARE, "UPLOAD_MB": 1}
    with serving(8, BODY_TIMEOUT=5.0, **own) as live:
        yield live


@pytest.fixture(autouse=True)
def short_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that is refused is not heard out for long."""
    monkeypatch.setattr(request_body, "LINGER_SILENCE_SECONDS", 0.05)


@pytest.fixture(autouse=True)
def nothing_is_held() -> Iterator[None]:
    yield
    assert eventually(lambda: request_body.uploads().bytes_in_use == 0)


@pytest.fixture
def alice() -> User:
    return local.local_user("alice")


def address(user: User, content_type: str = TEXT) -> str:
    url = upload_links.url(user.pk, NAME, content_type)
    assert url.startswith(f"{django_settings.PUBLIC_BASE_URL}/uploads?token=")
    return url.removeprefix(django_settings.PUBLIC_BASE_URL)


def put(server: Live, path: str, body: bytes = b"hello", content_type: str = TEXT) -> int:
    response = server.request("PUT", path, body, Content_Type=content_type)
    response.read()
    return response.status


def head(path: str, length: int | None) -> bytes:
    framing = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"PUT {path} HTTP/1.1", "Host: localhost", f"Content-Type: {TEXT}", framing, "Connection: close", "", ""]
    return "\r\n".join(lines).encode()


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def waiting() -> bytes | None:
    """What waits in Alice's place."""
    file_waiting = uploads.find(NAME)
    if file_waiting is None:
        return None
    with default_storage.open(NAME) as file:
        body: bytes = file.read()
        return body


def files() -> list[int]:
    """The sizes of all files in the folder of uploads, half ones too."""
    folder = Path(default_storage.path(uploads.FOLDER))
    sizes = []
    for path in folder.iterdir() if folder.exists() else ():
        with suppress(FileNotFoundError):  # removed since
            sizes.append(path.stat().st_size)
    return sizes


# ---- The address ----------------------------------------------------------------------------------------------------


def test_an_address_takes_one_file(server: Live, alice: User) -> None:
    path = address(alice)
    assert put(server, path, b"first") == 200
    assert put(server, path, b"second") == 409
    assert (waiting(), len(files())) == (b"first", 1)
    assert put(server, address(alice), b"another address") == 200
    assert (waiting(), len(files())) == (b"another address", 1)


def test_of_uploads_to_one_address_at_once_one_is_taken(server: Live, alice: User) -> None:
    path = address(alice)
    bodies = [bytes([number]) * 100_000 for number in range(4)]
    statuses = at_once(*(lambda body=body: put(server, path, body) for body in bodies))
    assert sorted(statuses) == [200, 409, 409, 409]
    assert waiting() == bodies[statuses.index(200)]
    assert files() == [100_000]


def test_an_upload_that_failed_does_not_use_its_address_up(server: Live, alice: User) -> None:
    path = address(alice)
    with server.connect() as client:
        client.sendall(head(path, 1000) + bytes(500))
    assert put(server, path, b"x" * (MEGABYTE + 1)) == 413
    assert put(server, path, content_type="text/html") == 400
    assert put(server, path) == 200


def test_an_address_holds_for_an_hour(server: Live, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    path = address(alice)
    monkeypatch.setattr(signing.time, "time", lambda: time.time_ns() / 1e9 + upload_links.SECONDS + 1)
    assert put(server, path) == 403
    assert files() == []


@pytest.mark.parametrize(
    "change", [lambda path: path[:-1], lambda path: path.replace("token=", "token=x"), lambda _: "/uploads"]
)
def test_an_address_of_nobodys_is_refused(server: Live, alice: User, change: Callable[[str], str]) -> None:
    assert put(server, change(address(alice))) == 403
    assert files() == []


def test_what_was_signed_for_something_else_is_no_address(server: Live, alice: User) -> None:
    token = signing.dumps(["0" * 32, alice.pk, NAME, TEXT], salt="another purpose")
    assert put(server, f"/uploads?token={token}") == 403


def test_an_address_names_the_content_type(server: Live, alice: User) -> None:
    assert put(server, address(alice), content_type="application/pdf") == 400
    assert put(server, address(alice), content_type="Text/Plain; charset=utf-8") == 200
    assert put(server, address(alice, ""), content_type="whatever/it-is") == 200


def test_who_is_suspended_uploads_no_more(server: Live, alice: User) -> None:
    path = address(alice)
    User.objects.filter(pk=alice.pk).update(is_active=False)
    assert put(server, path) == 403
    User.objects.filter(pk=alice.pk).delete()
    assert put(server, path) == 403
    assert files() == []


def test_a_day_has_an_end(server: Live, alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_links, "MOST_A_DAY", 2)
    assert [put(server, address(alice)) for _ in range(3)] == [200, 200, 429]
    assert put(server, address(local.local_user("bob"))) == 200
    UsedUploadLink.objects.update(used_at=timezone.now() - timedelta(days=2))
    assert put(server, address(alice)) == 200


def test_uploads_that_began_together_do_not_pass_the_bound_of_a_day(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_links, "MOST_A_DAY", 1)
    tokens = [parse_qs(urlsplit(address(alice)).query)["token"][0] for _ in range(2)]
    for token in tokens:
        upload_links.admit(RequestFactory().put("/", CONTENT_TYPE=TEXT, query_params={"token": token}))
    upload_links.take(tokens[0], TEXT, ContentFile(b"first"), 5)
    with pytest.raises(TooManyRequests):
        upload_links.take(tokens[1], TEXT, ContentFile(b"second"), 6)
    assert len(files()) == 1


def test_pages_of_other_origins_may_upload(server: Live, alice: User) -> None:
    preflight = server.request(
        "OPTIONS",
        address(alice),
        Origin="https://chat.example.com",
        Access_Control_Request_Method="PUT",
        Access_Control_Request_Headers="content-type",
    )
    assert preflight.status == 200
    assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
    assert "content-type" in preflight.headers["Access-Control-Allow-Headers"]
    for path, status in ((address(alice), 200), ("/uploads?token=x", 403)):
        answer = server.request("PUT", path, b"hello", Origin="https://chat.example.com", Content_Type=TEXT)
        assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")


# ---- The body -------------------------------------------------------------------------------------------------------


def test_a_file_of_ten_gigabytes_is_refused_before_it_is_read(server: Live, alice: User) -> None:
    answer = server.raw(head(address(alice), 10 * 1024 * MEGABYTE))
    assert status_of(answer) == 413
    assert json.loads(answer.split(b"\r\n\r\n")[1])["errors"] == ["The file is larger than 1 MB."]
    assert files() == []


def test_a_file_that_does_not_say_its_size_is_cut_at_the_limit(server: Live, alice: User) -> None:
    with server.connect() as client:
        client.sendall(head(address(alice), None))
        piece = b"10000\r\n" + bytes(65536) + b"\r\n"
        for _ in range(17):
            client.sendall(piece)
        assert status_of(read_to_end(client)) == 413
    assert files() == []


def test_a_body_is_on_disk_as_far_as_it_has_come(server: Live, alice: User) -> None:
    with server.connect() as client:
        client.sendall(head(address(alice), 900_000) + bytes(600_000))
        assert eventually(lambda: files() and files()[0] > 500_000)
        client.sendall(bytes(300_000))
        assert status_of(read_to_end(client)) == 200
    assert files() == [900_000]


def test_an_upload_that_is_cut_leaves_nothing(server: Live, alice: User) -> None:
    with server.connect() as client:
        client.sendall(head(address(alice), 900_000) + bytes(500_000))
        assert eventually(files)
    assert eventually(lambda: files() == [])


def test_an_upload_that_stalls_is_let_go(server: Live, alice: User, settings: Any) -> None:
    settings.BODY_TIMEOUT = 0.3
    with server.connect() as client:
        client.sendall(head(address(alice), 1000) + bytes(500))
        assert status_of(read_to_end(client)) == 408
    assert files() == []


def begun(server: Live, user: User, length: int) -> socket.socket:
    client = server.connect()
    client.sendall(head(address(user), length) + bytes(1000))
    return client


def test_what_is_uploaded_at_once_is_bounded_for_each_caller(
    server: Live, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(10 * MEGABYTE, MEGABYTE)
    monkeypatch.setattr(request_body, "uploads", lambda: budget)
    first = begun(server, alice, 900_000)
    assert eventually(lambda: budget.bytes_in_use == MEGABYTE)
    assert put(server, address(alice), bytes(900_000)) == 503
    assert put(server, address(local.local_user("bob")), bytes(900_000)) == 200
    first.close()
    assert eventually(lambda: budget.bytes_in_use == 0)


def test_files_that_are_open_are_bounded_for_each_caller_however_small_they_are(
    server: Live, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = Budget(10 * MEGABYTE, 2 * MEGABYTE)
    monkeypatch.setattr(request_body, "uploads", lambda: budget)
    path = address(alice)
    clients = []
    for number in (1, 2):
        clients.append(server.connect())
        clients[-1].sendall(head(path, None) + b"1\r\nx\r\n")
        assert eventually(lambda number=number: len(files()) == number)
    assert put(server, path, b"x") == 503
    for client in clients:
        client.close()
    assert eventually(lambda: files() == [])
    assert put(server, path, b"x") == 200


def test_a_full_disk_is_503_and_leaves_nothing(server: Live, alice: User, settings: Any, small_disk: Path) -> None:
    default = {**settings.STORAGES["default"], "OPTIONS": {"location": small_disk}}
    settings.STORAGES = {**settings.STORAGES, "default": default}
    path = address(alice)
    assert put(server, path, bytes(900_000)) == 503  # of 2 MB less is free than is kept back
    assert files() == []


def test_a_disk_that_becomes_full_is_503_and_leaves_nothing(
    server: Live, alice: User, settings: Any, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = {**settings.STORAGES["default"], "OPTIONS": {"location": small_disk}}
    settings.STORAGES = {**settings.STORAGES, "default": default}
    monkeypatch.setattr(upload_links, "require_room", lambda folder: folder.mkdir(exist_ok=True))
    (small_disk / "fill").write_bytes(bytes(MEGABYTE + 500_000))
    assert put(server, address(alice), bytes(900_000)) == 503
    assert files() == []
    (small_disk / "fill").unlink()
    assert put(server, address(alice), bytes(900_000)) == 200
