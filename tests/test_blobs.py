"""Blobs: stored once, whole or absent, and forgotten with their owner."""

from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage

from bedrock_chat import blobs
from bedrock_chat.blobs import Blob, BlobReference

pytestmark = pytest.mark.django_db


def stored(body: bytes) -> str:
    sha256 = blobs.digest(body)
    blobs.store({sha256: body})
    return sha256


@pytest.mark.both
def test_the_same_bytes_are_one_file_and_one_row() -> None:
    first = stored(b"hello")
    stored_at = Blob.objects.get().stored_at
    assert stored(b"hello") == first
    assert Blob.objects.get().stored_at > stored_at
    assert blobs.read(first) == b"hello"


@pytest.mark.both
def test_an_owner_refers_once_and_is_forgotten() -> None:
    sha256 = stored(b"hello")
    blobs.refer("conversation", 1, [sha256])
    blobs.refer("conversation", 1, [sha256])
    blobs.refer("conversation", 2, [sha256])
    blobs.forget("conversation", [1])
    assert list(BlobReference.objects.values_list("owner_id", flat=True)) == [2]


def test_a_write_that_breaks_off_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(blobs.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        stored(b"hello")
    assert not default_storage.exists(blobs.name_of(blobs.digest(b"hello")))
    monkeypatch.undo()
    assert blobs.read(stored(b"hello")) == b"hello"


def test_no_unfinished_files_stay_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(blobs.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        stored(b"hello")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
