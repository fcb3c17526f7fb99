"""What nobody refers to goes after a while, and never a body that somebody uploads again meanwhile."""

import os
import random
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone
from moto.server import ThreadedMotoServer
from rest_framework.test import APIClient

from bedrock_chat import blob_removal, blobs
from bedrock_chat.blobs import Blob, BlobReference
from bedrock_chat.database import release_connection
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from bedrock_chat.s3 import S3Files
from bedrock_chat.wire.errors import ServiceUnavailable
from tests.conversations.chat import say
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

DAY = timedelta(days=1)


def stored(body: bytes, *, age: timedelta = timedelta(), owner: int | None = None) -> str:
    sha256 = blobs.digest(body)
    blobs.store({sha256: body})
    if owner is not None:
        blobs.refer("conversation", owner, [sha256])
    Blob.objects.filter(pk=sha256).update(stored_at=timezone.now() - age)
    return sha256


def there(sha256: str) -> bool:
    return default_storage.exists(blobs.name_of(sha256))


@pytest.fixture
def job() -> Claimed:
    queue.enqueue("remove blobs")
    (claimed,) = queue.claim("worker-1", 1)
    return claimed


def test_what_is_old_and_forgotten_goes_and_nothing_else(job: Claimed) -> None:
    forgotten, young, kept = stored(b"1", age=2 * DAY), stored(b"2"), stored(b"3", age=2 * DAY, owner=1)
    blob_removal.remove_unreferenced(job)
    assert [there(each) for each in (forgotten, young, kept)] == [False, True, True]
    assert set(Blob.objects.values_list("pk", flat=True)) == {young, kept}


def test_many_go_in_one_run(job: Claimed) -> None:
    shas = [stored(str(number).encode(), age=2 * DAY) for number in range(blob_removal.AT_A_TIME + 5)]
    blob_removal.remove_unreferenced(job)
    assert not any(map(there, shas))
    assert not Blob.objects.exists()


def test_what_was_uploaded_again_stays(job: Claimed) -> None:
    sha256 = stored(b"1", age=2 * DAY)
    blobs.store({sha256: b"1"})
    blob_removal.remove_unreferenced(job)
    assert there(sha256)


def test_an_upload_between_mark_and_removal_waits_and_begins_anew(
    job: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256 = stored(b"1", age=2 * DAY)
    delete = blobs.LocalFiles.delete

    def upload() -> None:
        blobs.store({sha256: b"1"})
        blobs.refer("conversation", 1, [sha256])
        release_connection(final=True)

    with ThreadPoolExecutor(1) as pool:
        uploads = []

        def meanwhile(files: blobs.LocalFiles, name: str) -> None:
            uploads.append(pool.submit(upload))
            time.sleep(0.3)
            assert not uploads[0].done()
            delete(files, name)

        monkeypatch.setattr(blobs.LocalFiles, "delete", meanwhile)
        blob_removal.remove_unreferenced(job)
        uploads[0].result(10)
    assert blobs.read(sha256) == b"1"
    assert BlobReference.objects.get().blob_id == sha256


def test_uploads_and_removals_of_the_same_bytes_at_once_lose_nothing(settings: Any) -> None:
    """Every upload that was told it had succeeded can be read until its owner goes."""
    settings.BLOB_GRACE_SECONDS = 0.3
    body = b"the same bytes"
    sha256 = blobs.digest(body)
    end = time.monotonic() + 5
    lost: list[int] = []

    def use(owner: int) -> int:
        uploads = 0
        try:
            while time.monotonic() < end:
                blobs.store({sha256: body})
                blobs.refer("conversation", owner, [sha256])
                if blobs.read(sha256) != body:
                    lost.append(owner)
                blobs.forget("conversation", [owner])
                uploads += 1
                time.sleep(random.uniform(0, 1.2))
        finally:
            release_connection(final=True)
        return uploads

    def remove() -> int:
        removals = 0
        try:
            while time.monotonic() < end:
                queue.enqueue("remove blobs")
                (claimed,) = queue.claim("worker-1", 1)
                before = Blob.objects.filter(pk=sha256).count()
                blob_removal.remove_unreferenced(claimed)
                removals += before - Blob.objects.filter(pk=sha256).count() > 0
                queue.cancel(claimed.pk)
        finally:
            release_connection(final=True)
        return removals

    with ThreadPoolExecutor(4) as pool:
        users = [pool.submit(use, owner) for owner in range(3)]
        assert pool.submit(remove).result(30) > 0
        assert sum(each.result(30) for each in users) > 10
    assert lost == []


def test_a_removal_that_was_cut_short_is_taken_up(job: Claimed) -> None:
    sha256 = stored(b"1")
    Blob.objects.update(removing_at=timezone.now())
    blob_removal.remove_unreferenced(job)
    assert not there(sha256)
    assert not Blob.objects.exists()


def test_who_has_lost_the_job_removes_nothing(job: Claimed) -> None:
    sha256 = stored(b"1", age=2 * DAY)
    queue.cancel(job.pk)
    with pytest.raises(LeaseLost):
        blob_removal.remove_unreferenced(job)
    assert there(sha256)


def test_an_upload_does_not_wait_for_a_removal_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blobs, "REMOVAL_SECONDS", 0.2)
    sha256 = stored(b"1")
    Blob.objects.update(removing_at=timezone.now())
    with pytest.raises(ServiceUnavailable):
        blobs.store({sha256: b"1"})


def test_what_a_killed_process_left_unfinished_goes_too(job: Claimed, tmp_path: Path) -> None:
    stored(b"1", owner=1)
    folder = next(tmp_path.rglob("??"))
    old, young = folder / ".upload-old", folder / ".upload-young"
    for path in (old, young):
        path.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    blob_removal.remove_unreferenced(job)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_deleted_conversation_leaves_no_file_behind(
    job: Claimed, client_of: Callable[..., APIClient], emulator: Emulator, png: str, tmp_path: Path
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    assert say(alice, "c1", [image, {"contentType": "text", "body": "look"}]).status_code == 200
    alice.delete("/conversation/c1")
    Blob.objects.update(stored_at=timezone.now() - 2 * DAY)
    blob_removal.remove_unreferenced(job)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert not Blob.objects.exists()


# ---- In a bucket ----------------------------------------------------------------------------------------------------


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
    storages = {**settings.STORAGES, "default": {"BACKEND": "bedrock_chat.s3.S3Files", "OPTIONS": options}}
    settings.STORAGES = storages
    return S3Files(**options)


def keys(bucket: S3Files) -> list[str]:
    listed = bucket._client.list_objects_v2(Bucket=bucket._bucket)
    return [each["Key"] for each in listed.get("Contents", [])]


def test_blobs_live_and_go_in_a_bucket_as_in_files(job: Claimed, bucket: S3Files) -> None:
    forgotten, kept = stored(b"1", age=2 * DAY), stored("日本".encode(), owner=1)
    assert blobs.read(kept) == "日本".encode()
    assert len(keys(bucket)) == 2
    assert all(key.startswith("bedrock-chat/") for key in keys(bucket))
    blob_removal.remove_unreferenced(job)
    assert keys(bucket) == [f"bedrock-chat/{blobs.name_of(kept)}"]
    with pytest.raises(FileNotFoundError):
        blobs.read(forgotten)


def test_a_conversation_with_an_image_is_the_same_from_a_bucket(
    bucket: S3Files, client_of: Callable[..., APIClient], emulator: Emulator, png: str
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    assert say(alice, "c1", [image, {"contentType": "text", "body": "look"}]).status_code == 200
    messages = alice.get("/conversation/c1").json()["messageMap"].values()
    assert image in [block for message in messages for block in message["content"]]


def test_a_storage_in_a_bucket_does_what_a_storage_does(bucket: S3Files) -> None:
    assert not bucket.exists("a/b")
    with pytest.raises(FileNotFoundError):
        bucket.size("a/b")
    bucket.save("a/b", ContentFile(b"hello"))
    assert (bucket.exists("a/b"), bucket.size("a/b"), bucket.open("a/b").read()) == (True, 5, b"hello")
    url = bucket.signed_url("a/b", seconds=60, content_type="image/png", content_disposition='inline; filename="b.png"')
    with urllib.request.urlopen(url) as answer:
        assert (answer.read(), answer.headers["Content-Type"]) == (b"hello", "image/png")
        assert answer.headers["Content-Disposition"] == 'inline; filename="b.png"'
    bucket.delete("a/b")
    bucket.delete("a/b")
    assert not bucket.exists("a/b")
