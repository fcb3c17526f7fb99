"""A disk that is full or broken is waited for: it fails no document and no source, and nothing is taken for lost."""

import errno
import os
import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from django.db import transaction
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bots.knowledge import editions, faults, revisions, status
from bots.knowledge.models import Document
from bots.knowledge.sources import robots
from tests.bots.bot import KNOWLEDGE, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import Site, page
from tests.bots.upload import sources, upload
from tests.emulator import Emulator
from tests.serving.conftest import small_disk

__all__ = ["small_disk"]
pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]

SYNCS = 4
"""More than a document may fail in before it is removed."""


def shown(client: APIClient) -> tuple[str, str]:
    bot = read(client, "b")
    return bot["syncStatus"], bot["syncStatusReason"]


def again() -> None:
    with transaction.atomic():
        revisions.request("b")
    syncs.run()


def later() -> None:
    """The minute is over."""
    Job.objects.filter(kind=revisions.KIND).update(due_at=database_now())
    syncs.run()


def fill(disk: Path) -> Path:
    """Writes a file until nothing is free."""
    path = disk / "large"
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    return path


def assert_that_it_waits(client: APIClient) -> None:
    assert shown(client) == ("RUNNING", faults.DISK_AWAY)
    assert Job.objects.get(kind=revisions.KIND).due_at > database_now() + timedelta(seconds=50)
    assert set(Document.objects.values_list("attempts", "failures")) <= {(0, 0)}


def test_a_storage_without_room_for_texts_fails_no_document(
    alice: APIClient, emulator: Emulator, settings: Any, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    upload(alice, "b", "a.txt", b"Apples are red.")
    make(alice, "b", knowledge=sources("a.txt"))
    shutil.copytree(default_storage.path(""), small_disk, dirs_exist_ok=True)
    default = {**settings.STORAGES["default"], "OPTIONS": {"location": small_disk}}
    settings.STORAGES = {**settings.STORAGES, "default": default}
    large = fill(small_disk)
    syncs.run()
    for _ in range(SYNCS):
        later()
        assert_that_it_waits(alice)
    assert "ENOSPC" in caplog.text
    large.unlink()
    later()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
    assert syncs.texts() == ["Apples are red."]


def test_a_temporary_folder_without_room_fails_no_page_no_file_and_no_sitemap(
    alice: APIClient, emulator: Emulator, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site({"/d/": page("Start", "Old words stand here.")}) as site:
        site.pages["/map.xml"] = f"<urlset><url><loc>{site.url}/d/</loc></url></urlset>"
        site.pages["/robots.txt"] = "User-agent: *\nDisallow: /private\n"
        upload(alice, "b", "a.txt", b"Apples are red.")
        urls = {"sourceUrls": [f"{site.url}/d/"], "sitemapUrls": [f"{site.url}/map.xml"]}
        make(alice, "b", knowledge={**sources("a.txt"), **urls})
        monkeypatch.setattr(tempfile, "tempdir", str(small_disk))
        large = fill(small_disk)
        syncs.run()
        for _ in range(SYNCS):
            robots.forget()  # it is written, too, before it is read
            later()
            assert_that_it_waits(alice)
        large.unlink()
        later()
        later()
        assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
        assert syncs.states() == {"file:a.txt": "ready", f"{site.url}/d/": "ready"}


def test_a_slice_that_has_no_folder_waits_for_one(
    alice: APIClient, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(alice, "b", "a.txt", b"Apples are red.")
    make(alice, "b", knowledge=sources("a.txt"))
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "not there"))
        syncs.run()
        assert_that_it_waits(alice)
    later()
    assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
def test_a_kept_text_that_a_disk_does_not_show_is_not_lost(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    with Site({"/d/": page("Start", "Old words.", "/d/a"), "/d/a": page("A", "Other words.")}) as site:
        make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": [f"{site.url}/d/"]})
        syncs.run()
        before, requests = syncs.texts(), site.requests.copy()

        def broken(name: str) -> Any:
            raise OSError(code, os.strerror(code), name)

        with monkeypatch.context() as patch:
            patch.setattr(editions, "load", broken)
            again()
            later()
            assert_that_it_waits(alice)
        assert site.requests == requests  # nothing is fetched anew for it
        later()
        assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
        assert syncs.texts() == before
