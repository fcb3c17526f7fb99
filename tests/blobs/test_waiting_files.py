"""Files that wait for somebody to keep them: kept as they are, discarded as they were, removed after a day."""

import os
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.utils import timezone

from bedrock_chat.blobs import local_storage, storing, uploads
from bedrock_chat.blobs.models import Blob, UsedUploadLink
from bedrock_chat.identity import local
from bedrock_chat.jobs import queue
from bedrock_chat.wire.errors import PayloadTooLarge

pytestmark = [pytest.mark.both, pytest.mark.django_db]

MEGABYTE = 1024 * 1024
NAME = uploads.name_of("user:alice", "a.txt")


def waiting() -> bytes | None:
    """What waits in Alice's place."""
    if uploads.find(NAME) is None:
        return None
    with default_storage.open(NAME) as file:
        body: bytes = file.read()
        return body


def test_what_waits_becomes_a_blob_and_stays_until_it_is_discarded() -> None:
    default_storage.save(NAME, ContentFile(b"hello"))
    file = uploads.find(NAME)
    assert file is not None
    [sha256] = uploads.keep([file]).values()
    assert sha256 == storing.digest(b"hello")
    assert storing.StoredFiles().read(sha256) == b"hello"
    assert Blob.objects.get().size == 5
    assert waiting() == b"hello"
    uploads.discard(file)
    uploads.discard(file)
    assert waiting() is None


def test_what_was_uploaded_since_is_neither_kept_nor_discarded_by_mistake() -> None:
    default_storage.save(NAME, ContentFile(b"first"))
    file = uploads.find(NAME)
    assert file is not None
    default_storage.save(NAME, ContentFile(b"newer"))
    assert uploads.keep([file]) == {}
    uploads.discard(file)
    assert waiting() == b"newer"


def test_a_file_over_the_limit_is_not_kept(settings: Any) -> None:
    settings.UPLOAD_MB = 1
    default_storage.save(NAME, ContentFile(bytes(MEGABYTE + 1)))
    file = uploads.find(NAME)
    assert file is not None
    with pytest.raises(PayloadTooLarge):
        uploads.keep([file])


def test_places_are_peoples_own() -> None:
    bobs = uploads.name_of("user:bob", "a.txt")
    assert bobs != NAME
    for name in (NAME, bobs):
        default_storage.save(name, ContentFile(b"hello"))
    assert uploads.remove_all("user:bob") == 1
    assert (uploads.find(bobs), waiting()) == (None, b"hello")


def test_what_nobody_keeps_goes_after_a_day_and_nothing_else() -> None:
    alice = local.local_user("alice")
    old, young = uploads.name_of("user:bob", "a.txt"), NAME
    for name in (old, young):
        default_storage.save(name, ContentFile(b"hello"))
    two_days_ago = time.time() - 2 * 86_400
    os.utime(default_storage.path(old), (two_days_ago, two_days_ago))
    for number, age in enumerate((0, 2)):
        UsedUploadLink.objects.create(id=number, user=alice, used_at=timezone.now() - timedelta(days=age))
    queue.enqueue("remove uploads")
    uploads.remove_unclaimed(*queue.claim("worker-1", 1))
    assert (uploads.find(old), waiting()) == (None, b"hello")
    assert [row.pk for row in UsedUploadLink.objects.all()] == ["0"]


def test_what_was_uploaded_anew_while_the_old_was_listed_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    default_storage.save(NAME, ContentFile(b"hello"))
    two_days_ago = time.time() - 2 * 86_400
    os.utime(default_storage.path(NAME), (two_days_ago, two_days_ago))
    listed = list(default_storage.waiting(f"{uploads.FOLDER}/"))  # type: ignore[attr-defined]
    default_storage.save(NAME, ContentFile(b"newer"))
    monkeypatch.setattr(local_storage.LocalFiles, "waiting", lambda self, prefix: iter(listed))
    queue.enqueue("remove uploads")
    uploads.remove_unclaimed(*queue.claim("worker-1", 1))
    assert waiting() == b"newer"


def test_a_half_file_of_a_killed_process_goes_after_a_day() -> None:
    folder = Path(default_storage.path(uploads.FOLDER))
    folder.mkdir(parents=True)
    half = Path(local_storage.unfinished_file(folder).name)
    queue.enqueue("remove uploads")
    (job,) = queue.claim("worker-1", 1)
    uploads.remove_unclaimed(job)
    assert half.exists()
    two_days_ago = time.time() - 2 * 86_400
    os.utime(half, (two_days_ago, two_days_ago))
    uploads.remove_unclaimed(job)
    assert not half.exists()
