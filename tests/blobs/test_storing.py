"""Blobs: each is stored once, is whole or absent, and is forgotten with its owner."""

import threading
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.utils import timezone

from bedrock_chat.blobs import local_storage, storing
from bedrock_chat.blobs.models import Blob, BlobReference
from tests import build
from tests.together import at_once

pytestmark = pytest.mark.django_db(transaction=True)


def stored(body: bytes) -> str:
    sha256 = storing.digest(body)
    storing.store({sha256: body})
    return sha256


@pytest.mark.both
def test_the_same_bytes_are_one_file_and_one_row() -> None:
    first = stored(b"hello")
    stored_at = Blob.objects.get().stored_at
    assert stored(b"hello") == first
    assert Blob.objects.get().stored_at > stored_at
    assert build.body_of(first) == b"hello"


@pytest.mark.both
def test_an_owner_refers_once_and_is_forgotten() -> None:
    sha256 = stored(b"hello")
    storing.refer("conversation", 1, [sha256])
    storing.refer("conversation", 1, [sha256])
    storing.refer("conversation", 2, [sha256])
    storing.forget("conversation", [1])
    assert list(BlobReference.objects.values_list("owner_id", flat=True)) == [2]


def test_a_write_that_breaks_off_leaves_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(local_storage.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        stored(b"hello")
    assert not default_storage.exists(build.file_of(storing.digest(b"hello")))
    monkeypatch.undo()
    assert build.body_of(stored(b"hello")) == b"hello"


def test_no_unfinished_files_stay_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(local_storage.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        stored(b"hello")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.both
def test_the_same_bytes_at_once_are_one_file_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    exists, save = local_storage.LocalFiles.exists, local_storage.LocalFiles._save
    met, written, looked = threading.Barrier(2), threading.Event(), threading.local()

    def both_look_before_either_writes(files: local_storage.LocalFiles, name: str) -> bool:
        is_there = exists(files, name)
        if not hasattr(looked, "once"):
            looked.once = True
            if met.wait(10):
                written.wait(10)
        return is_there

    def saved(files: local_storage.LocalFiles, name: str, content: File) -> str:
        name = save(files, name, content)
        written.set()
        return name

    monkeypatch.setattr(local_storage.LocalFiles, "exists", both_look_before_either_writes)
    monkeypatch.setattr(local_storage.LocalFiles, "_save", saved)
    at_once(*[lambda: storing.store({storing.digest(b"hello"): b"hello"})] * 2)
    assert [str(path.relative_to(tmp_path / "blobs")) for path in tmp_path.rglob("*") if path.is_file()] == [
        build.file_of(storing.digest(b"hello"))
    ]


@pytest.mark.both
def test_the_same_files_in_another_order_do_not_block_each_other() -> None:
    bodies = {storing.digest(str(number).encode()): str(number).encode() for number in range(25)}
    storing.store(bodies)

    def store_often(ordered: Mapping[str, bytes]) -> None:
        for _ in range(50):
            storing.store(ordered)

    at_once(lambda: store_often(bodies), lambda: store_often(dict(reversed(bodies.items()))))


@pytest.mark.both
def test_a_body_of_before_there_were_generations_is_where_it_was() -> None:
    sha256 = storing.digest(b"hello")
    Blob.objects.create(sha256=sha256, generation="", size=5)
    assert build.file_of(sha256) == f"{sha256[:2]}/{sha256[2:4]}/{sha256}"
    assert stored(b"hello") == sha256
    assert build.file_of(sha256).endswith(f"/{sha256}")
    assert build.body_of(sha256) == b"hello"


@pytest.mark.both
def test_a_lost_file_comes_back_with_the_next_upload_of_its_bytes() -> None:
    sha256 = stored(b"hello")
    build.lose(sha256)
    with pytest.raises(FileNotFoundError):
        build.body_of(sha256)
    stored(b"hello")
    assert build.body_of(sha256) == b"hello"


def test_an_unfinished_file_may_end_while_it_is_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stored(b"hello")
    files = local_storage.LocalFiles(tmp_path / "blobs")
    (tmp_path / "blobs" / f"{local_storage.UNFINISHED}left").touch()
    rglob = Path.rglob

    def ended_since(folder: Path, pattern: str) -> list[Path]:
        paths = [*rglob(folder, pattern), folder / f"{local_storage.UNFINISHED}ended"]
        return list(reversed(paths))

    monkeypatch.setattr(Path, "rglob", ended_since)
    files.remove_unfinished(timezone.now() + timedelta(minutes=1))
    assert not (tmp_path / "blobs" / f"{local_storage.UNFINISHED}left").exists()


@pytest.mark.both
def test_many_files_are_looked_up_in_one_query(django_assert_num_queries: Any) -> None:
    shas = [stored(str(number).encode()) for number in range(5)]
    files = storing.StoredFiles()
    with django_assert_num_queries(1):
        files.expect([*shas, "0" * 64])
        assert [files.read(sha256) for sha256 in shas] == [b"0", b"1", b"2", b"3", b"4"]
        with pytest.raises(FileNotFoundError):
            files.read("0" * 64)
