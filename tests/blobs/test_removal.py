"""Bodies that nothing refers to are removed after a while, but never one that is uploaded again meanwhile."""

import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import IntegrityError, connection, transaction
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.blobs import local_storage, removal, storing
from bedrock_chat.blobs.models import Blob, BlobReference, BlobRemoval
from bedrock_chat.database.connections import release_connection
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from tests import build
from tests.conversations.chat import say
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

DAY = timedelta(days=1)


def stored(body: bytes, *, age: timedelta = timedelta(), owner: int | None = None) -> str:
    sha256 = storing.digest(body)
    storing.store({sha256: body})
    if owner is not None:
        storing.refer("conversation", owner, [sha256])
    Blob.objects.filter(pk=sha256).update(stored_at=timezone.now() - age)
    return sha256


def is_readable(sha256: str) -> bool:
    """Whether a blob can be read."""
    try:
        return bool(build.body_of(sha256))
    except FileNotFoundError:
        return False


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def job() -> Claimed:
    queue.enqueue("remove blobs")
    (claimed,) = queue.claim("worker-1", 1)
    return claimed


def test_what_is_old_and_forgotten_goes_and_nothing_else(job: Claimed) -> None:
    forgotten, young, kept = stored(b"1", age=2 * DAY), stored(b"2"), stored(b"3", age=2 * DAY, owner=1)
    removal.remove_unreferenced(job)
    assert [is_readable(sha256) for sha256 in (forgotten, young, kept)] == [False, True, True]
    assert set(Blob.objects.values_list("pk", flat=True)) == {young, kept}


def test_many_go_in_one_run(job: Claimed) -> None:
    shas = [stored(str(number).encode(), age=2 * DAY) for number in range(removal.AT_A_TIME + 5)]
    removal.remove_unreferenced(job)
    assert not any(map(is_readable, shas))
    assert not Blob.objects.exists()


def test_what_was_uploaded_again_stays(job: Claimed) -> None:
    sha256 = stored(b"1", age=2 * DAY)
    storing.store({sha256: b"1"})
    removal.remove_unreferenced(job)
    assert is_readable(sha256)


def test_an_upload_while_the_old_file_is_deleted_makes_another(
    job: Claimed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sha256 = stored(b"1", age=2 * DAY)
    old, delete = build.file_of(sha256), local_storage.LocalFiles.delete

    def meanwhile(storage: local_storage.LocalFiles, name: str) -> None:
        assert name == old
        stored(b"1", owner=1)
        delete(storage, name)

    monkeypatch.setattr(local_storage.LocalFiles, "delete", meanwhile)
    removal.remove_unreferenced(job)
    assert is_readable(sha256)
    assert files(tmp_path) == [Path(build.file_of(sha256)).name] != [Path(old).name]


@pytest.mark.parametrize("generation", ["", "0123456789abcdef"])
def test_a_removal_that_slept_deletes_nothing_that_was_uploaded_since(
    job: Claimed, monkeypatch: pytest.MonkeyPatch, generation: str
) -> None:
    """A worker sleeps before its first file. Another one takes the job over and does it. Then the body comes again."""
    sha256 = stored(b"1", age=2 * DAY)
    old = build.file_of(sha256)
    Blob.objects.update(generation=generation)
    default_storage.save(build.file_of(sha256), default_storage.open(old))
    delete, slept = local_storage.LocalFiles.delete, False

    def sleepy(storage: local_storage.LocalFiles, name: str) -> None:
        nonlocal slept
        if not slept:
            slept = True
            Job.objects.update(due_at=timezone.now() - timedelta(seconds=1))
            (taken_over,) = queue.claim("worker-2", 1)
            removal.remove_unreferenced(taken_over)
            assert not BlobRemoval.objects.exists()
            stored(b"1", owner=1)
        delete(storage, name)

    monkeypatch.setattr(local_storage.LocalFiles, "delete", sleepy)
    with pytest.raises(LeaseLost):
        removal.remove_unreferenced(job)
    assert slept
    assert is_readable(sha256)


def test_a_removal_that_slept_leaves_another_note_alone(job: Claimed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Meanwhile the body was uploaded and forgotten again. The note of its second file stays, so it will be deleted."""
    sha256 = stored(b"1", age=2 * DAY)
    delete, noted = local_storage.LocalFiles.delete, ""

    def sleepy(storage: local_storage.LocalFiles, name: str) -> None:
        nonlocal noted
        if not noted:
            stored(b"1")
            noted = build.file_of(sha256)
            BlobRemoval.objects.create(name=noted)
            Blob.objects.all().delete()
            queue.cancel(job.pk)
        delete(storage, name)

    monkeypatch.setattr(local_storage.LocalFiles, "delete", sleepy)
    with pytest.raises(LeaseLost):
        removal.remove_unreferenced(job)
    assert list(BlobRemoval.objects.values_list("pk", flat=True)) == [noted]
    assert default_storage.exists(noted)


def test_what_is_just_being_uploaded_stays(job: Claimed) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite's removal waits for whoever writes")
    sha256 = stored(b"1", age=2 * DAY)
    touched, removed = threading.Event(), threading.Event()

    def upload() -> None:
        with transaction.atomic():
            Blob.objects.update(stored_at=timezone.now())
            touched.set()
            removed.wait(10)
        release_connection(final=True)

    with ThreadPoolExecutor(1) as pool:
        uploading = pool.submit(upload)
        touched.wait(10)
        removal.remove_unreferenced(job)
        removed.set()
        uploading.result(10)
    assert is_readable(sha256)


def test_nobody_refers_to_what_is_gone(job: Claimed) -> None:
    sha256 = stored(b"1", age=2 * DAY)
    removal.remove_unreferenced(job)
    with pytest.raises(IntegrityError), transaction.atomic():
        storing.refer("conversation", 1, [sha256])
    assert not BlobReference.objects.exists()


def test_a_turn_that_slept_longer_than_the_grace_is_asked_to_come_again(
    client_of: Callable[..., APIClient], emulator: Emulator, png: str, job: Claimed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def store(bodies: Any, _store: Any = storing.store) -> None:
        _store(bodies)
        Blob.objects.update(stored_at=timezone.now() - 2 * DAY)
        removal.remove_unreferenced(job)

    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    with monkeypatch.context() as patched:
        patched.setattr(storing, "store", store)
        refused = say(alice, "c1", [image])
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert say(alice, "c1", [image]).status_code == 200


def test_uploads_and_removals_of_the_same_bytes_at_once_lose_nothing(settings: Any) -> None:
    """After every upload that succeeded, the body can be read until its owner is forgotten."""
    settings.BLOB_GRACE_SECONDS = 0.3
    body = b"the same bytes"
    sha256 = storing.digest(body)
    end = time.monotonic() + 5
    lost: list[int] = []

    def use(owner: int) -> int:
        uploads = 0
        try:
            while time.monotonic() < end:
                storing.store({sha256: body})
                storing.refer("conversation", owner, [sha256])
                if build.body_of(sha256) != body:
                    lost.append(owner)
                storing.forget("conversation", [owner])
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
                removal.remove_unreferenced(claimed)
                removals += before - Blob.objects.filter(pk=sha256).count() > 0
                queue.cancel(claimed.pk)
        finally:
            release_connection(final=True)
        return removals

    with ThreadPoolExecutor(4) as pool:
        users = [pool.submit(use, owner) for owner in range(3)]
        assert pool.submit(remove).result(30) > 0
        assert sum(uploads.result(30) for uploads in users) > 10
    assert lost == []


def test_a_removal_that_was_cut_short_is_taken_up(
    job: Claimed, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stored(b"1", age=2 * DAY)

    def killed(*_: Any) -> None:
        raise OSError("killed")

    monkeypatch.setattr(local_storage.LocalFiles, "delete", killed)
    with pytest.raises(OSError, match="killed"):
        removal.remove_unreferenced(job)
    assert len(files(tmp_path)) == 1
    monkeypatch.undo()
    removal.remove_unreferenced(job)
    assert files(tmp_path) == []
    assert not BlobRemoval.objects.exists()


def test_who_has_lost_the_job_removes_nothing(job: Claimed) -> None:
    sha256 = stored(b"1", age=2 * DAY)
    queue.cancel(job.pk)
    with pytest.raises(LeaseLost):
        removal.remove_unreferenced(job)
    assert is_readable(sha256)


def test_what_a_killed_process_left_unfinished_goes_too(job: Claimed, tmp_path: Path) -> None:
    stored(b"1", owner=1)
    folder = next(tmp_path.rglob("??"))
    old, young = folder / ".upload-old", folder / ".upload-young"
    for path in (old, young):
        path.write_bytes(b"half")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))
    removal.remove_unreferenced(job)
    assert (old.exists(), young.exists()) == (False, True)


def test_a_deleted_conversation_leaves_no_file_behind(
    job: Claimed, client_of: Callable[..., APIClient], emulator: Emulator, png: str, tmp_path: Path
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    assert say(alice, "c1", [image, {"contentType": "text", "body": "look"}]).status_code == 200
    alice.delete("/conversation/c1")
    Blob.objects.update(stored_at=timezone.now() - 2 * DAY)
    removal.remove_unreferenced(job)
    assert files(tmp_path) == []
    assert not Blob.objects.exists()
