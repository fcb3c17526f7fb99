"""Blobs in an S3 bucket: they are stored and removed as in files, and S3 accepts their addresses."""

import base64
import json
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from django.core.files.base import ContentFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from moto.server import ThreadedMotoServer
from rest_framework.test import APIClient

from bedrock_chat.blobs import removal, storing, upload_links, uploads
from bedrock_chat.blobs.models import Blob
from bedrock_chat.blobs.s3_storage import S3Files
from bedrock_chat.jobs import queue
from tests import build
from tests.bots import bot as bots
from tests.bots import travel, upload
from tests.conversations.chat import say
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    server = ThreadedMotoServer(port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def bucket(s3: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> S3Files:
    for name, value in {
        "AWS_ENDPOINT_URL_S3": s3,
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"blobs-{time.time_ns()}"
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=name)
    options = {"bucket": name, "prefix": "bedrock-chat/", "region": "us-east-1"}
    storages = {
        **settings.STORAGES,
        "default": {"BACKEND": "bedrock_chat.blobs.s3_storage.S3Files", "OPTIONS": options},
    }
    settings.STORAGES = storages
    return S3Files(**options)


def keys(bucket: S3Files) -> list[str]:
    listing = bucket._client.list_objects_v2(Bucket=bucket._bucket)
    return [stored["Key"] for stored in listing.get("Contents", [])]


def test_blobs_live_and_go_in_a_bucket_as_in_files(bucket: S3Files) -> None:
    bodies = {storing.digest(body): body for body in (b"1", "日本".encode())}
    storing.store(bodies)
    forgotten, kept = bodies
    storing.refer("conversation", 1, [kept])
    Blob.objects.update(stored_at=timezone.now() - timedelta(days=2))
    assert [build.body_of(sha256) for sha256 in bodies] == list(bodies.values())
    assert len(keys(bucket)) == 2
    assert all(key.startswith("bedrock-chat/") for key in keys(bucket))
    queue.enqueue("remove blobs")
    removal.remove_unreferenced(*queue.claim("worker-1", 1))
    assert keys(bucket) == [f"bedrock-chat/{build.file_of(kept)}"]
    with pytest.raises(FileNotFoundError):
        build.body_of(forgotten)


def test_a_conversation_with_an_image_is_the_same_from_a_bucket(
    bucket: S3Files, client_of: Callable[..., APIClient], emulator: Emulator, png: str
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    assert say(alice, "c1", [image, {"contentType": "text", "body": "look"}]).status_code == 200
    messages = alice.get("/conversation/c1").json()["messageMap"].values()
    assert image in [block for message in messages for block in message["content"]]


def test_addresses_are_the_buckets_and_cost_one_query_however_many_they_are(
    bucket: S3Files, client_of: Callable[..., APIClient], emulator: Emulator, png: str
) -> None:
    alice = client_of("alice")
    costs = []
    for files in (1, 4):
        for number in range(files):
            body = base64.b64encode(f"{files} {number}".encode()).decode()
            document = {"contentType": "attachment", "fileName": "a.txt", "body": body}
            say(alice, f"c{files}", [document, {"contentType": "text", "body": "look"}], message_id=f"q{number}")
        with CaptureQueriesContext(connection) as captured:
            messages = alice.get(f"/conversation/c{files}?blobs=reference").json()["messageMap"]
        costs.append(len(captured))
        for number in range(files):
            with urllib.request.urlopen(messages[f"q{number}"]["content"][0]["url"]) as response:
                assert response.read() == f"{files} {number}".encode()
    assert costs[0] == costs[1]


def test_what_was_lost_from_a_bucket_leaves_its_conversation_usable(
    bucket: S3Files, client_of: Callable[..., APIClient], emulator: Emulator, png: str
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    say(alice, "c1", [image, {"contentType": "text", "body": "look"}], message_id="q1")
    build.lose(Blob.objects.get().pk)
    assert alice.get("/conversation/c1").json()["messageMap"]["q1"]["content"][0] == {**image, "body": ""}
    assert say(alice, "c1", "and now?").status_code == 200


def test_a_storage_in_a_bucket_does_what_a_storage_does(bucket: S3Files) -> None:
    assert not bucket.exists("a/b")
    with pytest.raises(FileNotFoundError):
        bucket.size("a/b")
    bucket.save("a/b", ContentFile(b"hello"))
    assert (bucket.exists("a/b"), bucket.size("a/b"), bucket.open("a/b").read()) == (True, 5, b"hello")
    url = bucket.signed_url("a/b", seconds=60, content_type="image/png", content_disposition='inline; filename="b.png"')
    with urllib.request.urlopen(url) as response:
        assert (response.read(), response.headers["Content-Type"]) == (b"hello", "image/png")
        assert response.headers["Content-Disposition"] == 'inline; filename="b.png"'
    assert bucket.save("a/b", ContentFile(b"hello")) == "a/b"
    bucket.delete("a/b")
    bucket.delete("a/b")
    assert not bucket.exists("a/b")


# ---- Amazon's own hosts ---------------------------------------------------------------------------------------------


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")


def signed(bucket: str, region: str) -> Any:
    url = S3Files(bucket, "b", region).signed_url("x", seconds=60, content_type="image/png", content_disposition=None)
    return urlsplit(url)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1"])
def test_an_address_names_the_buckets_region_and_is_signed_as_every_region_takes_it(region: str) -> None:
    url = signed("files", region)
    assert (url.hostname, url.path) == (f"files.s3.{region}.amazonaws.com", "/b/x")
    query = parse_qs(url.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Credential"][0].split("/")[2] == region


@pytest.mark.usefixtures("credentials")
def test_a_bucket_with_a_dot_in_its_name_is_part_of_the_path() -> None:
    url = signed("my.files", "eu-west-1")  # no certificate covers my.files.s3.eu-west-1.amazonaws.com
    assert (url.hostname, url.path) == ("s3.eu-west-1.amazonaws.com", "/my.files/b/x")


@pytest.mark.usefixtures("credentials")
def test_at_another_host_the_bucket_is_part_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio.local:9000")
    url = signed("files", "us-east-1")
    assert (url.netloc, url.path) == ("minio.local:9000", "/files/b/x")
    assert parse_qs(url.query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]


# ---- Uploads --------------------------------------------------------------------------------------------------------


def put(url: str, body: bytes, content_type: str) -> int:
    request = urllib.request.Request(url, body, {"Content-Type": content_type}, method="PUT")
    with urllib.request.urlopen(request) as response:
        status: int = response.status
        return status


NAME = uploads.name_of("user:alice", "a.txt")


def test_the_bucket_takes_uploads_itself(bucket: S3Files) -> None:
    url = urlsplit(upload_links.url("alice", NAME, "text/plain"))
    assert put(url.geturl(), b"hello", "text/plain") == 200
    query = parse_qs(url.query)
    assert query["X-Amz-SignedHeaders"] == ["content-type;host"]  # another Content-Type has another signature
    assert query["X-Amz-Expires"] == ["3600"]
    assert keys(bucket) == [f"bedrock-chat/{NAME}"]
    assert parse_qs(urlsplit(upload_links.url("alice", NAME, "")).query)["X-Amz-SignedHeaders"] == ["host"]


def test_what_waits_in_a_bucket_is_kept_inside_it(bucket: S3Files) -> None:
    bucket.save(NAME, ContentFile(b"hello"))
    waiting = uploads.find(NAME)
    assert waiting is not None
    assert waiting.size == 5
    [sha256] = uploads.keep([waiting]).values()
    assert build.body_of(sha256) == b"hello"
    uploads.discard(waiting)
    assert keys(bucket) == [f"bedrock-chat/{build.file_of(sha256)}"]
    assert uploads.find(NAME) is None


def test_what_was_uploaded_to_a_bucket_since_is_neither_kept_nor_discarded_by_mistake(bucket: S3Files) -> None:
    bucket.save(NAME, ContentFile(b"first"))
    waiting = uploads.find(NAME)
    assert waiting is not None
    bucket.save(NAME, ContentFile(b"newer"))
    assert uploads.keep([waiting]) == {}
    uploads.discard(waiting)
    with bucket.open(NAME) as file:
        assert file.read() == b"newer"


def test_what_nobody_keeps_in_a_bucket_goes_after_a_day(bucket: S3Files, monkeypatch: pytest.MonkeyPatch) -> None:
    bobs = uploads.name_of("user:bob", "a.txt")
    for name in (NAME, bobs):
        bucket.save(name, ContentFile(b"hello"))
    bucket.save("another/blob", ContentFile(b"hello"))
    assert uploads.remove_all("user:bob") == 1
    queue.enqueue("remove uploads")
    (job,) = queue.claim("worker-1", 1)
    uploads.remove_unclaimed(job)
    assert set(keys(bucket)) == {f"bedrock-chat/{NAME}", "bedrock-chat/another/blob"}
    monkeypatch.setattr(uploads, "KEPT", timedelta(seconds=-5))
    uploads.remove_unclaimed(job)
    assert keys(bucket) == ["bedrock-chat/another/blob"]


def test_a_bot_gets_a_file_from_a_bucket_and_its_versions_keep_it(
    bucket: S3Files, client_of: Callable[..., APIClient]
) -> None:
    alice = client_of("alice", "CreatingBotAllowed")
    url = bots.body(upload.ask(alice, "b", "a.txt"))["url"]
    assert put(url, b"hello", "text/plain") == 200
    made = bots.make(alice, "b", knowledge=upload.sources("a.txt"))
    assert upload.files_of(made) == {"a.txt": upload.digest(b"hello")}
    assert keys(bucket) == [f"bedrock-chat/{build.file_of(upload.digest(b'hello'))}"]
    assert bots.body(upload.removal(alice, "b", "a.txt")) is None


def test_a_bot_travels_with_its_files_while_no_connection_is_held(
    bucket: S3Files, client_of: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The release of a connection fails inside a transaction, so each call of S3 shows that there is none."""
    alice = client_of("alice", "CreatingBotAllowed")
    released = []
    ask = S3Files._bounded
    monkeypatch.setattr(S3Files, "_bounded", lambda self: released.append(connection.in_atomic_block) or ask(self))
    document = bots.document(files=[travel.named("a.txt", b"What Alice knows.")])
    entries = {"bot.json": json.dumps(document).encode(), f"files/{upload.digest(b'What Alice knows.')}": b""}
    assert travel.bring_zip(alice, travel.zipped(entries)).status_code == 400
    entries[f"files/{upload.digest(b'What Alice knows.')}"] = b"What Alice knows."
    brought = bots.body(travel.bring_zip(alice, travel.zipped(entries)))
    copy = bots.body(travel.clone(alice, brought["id"]))
    again = bots.body(travel.bring_zip(alice, travel.export_zip(alice, copy["id"])))
    assert again["files"] == copy["files"] == brought["files"]
    assert len(keys(bucket)) == 1
    assert released
    assert not any(released)
