"""A disk that is full or broken is waited for: it fails no document and no source, and nothing is taken for lost."""

import errno
import hashlib
import os
import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Job
from bots import alerting
from bots.knowledge import away, editions, lanes, revisions, status
from bots.knowledge.models import Document, Knowledge
from bots.knowledge.sources import robots, uploads
from tests.bots.bot import KNOWLEDGE, make
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.syncs import Site, again, page, shown
from tests.bots.upload import sources, upload
from tests.emulator import Emulator
from tests.serving.conftest import small_disk

__all__ = ["small_disk"]
pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]

SYNCS = 4
"""More than a document may fail in before it is removed."""


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
    assert shown(client) == ("RUNNING", away.DISK_AWAY)
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


class TestFilesThatAreNeverRead:
    """Files of the storage that a disk does not give, whatever else it gives."""

    @pytest.fixture
    def broken(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        """The digests of the files that the storage answers EACCES for."""
        digests: set[str] = set()
        fetch = uploads.fetch

        def refused(location: Any, *arguments: Any) -> Any:
            if location.digest in digests:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), location.digest)
            return fetch(location, *arguments)

        monkeypatch.setattr(uploads, "fetch", refused)
        return digests

    def save(self, client: APIClient, broken: set[str], *names: str, of_these: int = 1) -> None:
        for name in names:
            upload(client, "b", name, f"What {name} says.".encode())
        make(client, "b", knowledge=sources(*names))
        broken |= {hashlib.sha256(f"What {name} says.".encode()).hexdigest() for name in names[:of_these]}

    def test_one_of_them_keeps_no_other_file_waiting(
        self, alice: APIClient, emulator: Emulator, broken: set[str]
    ) -> None:
        self.save(alice, broken, *(f"{number}.txt" for number in range(6)))
        syncs.run()
        assert_that_it_waits(alice)
        assert syncs.states() == {
            "file:0.txt": "waiting",
            **{f"file:{number}.txt": "ready" for number in range(1, 6)},
        }

    def test_a_few_of_them_in_a_row_end_the_slice(
        self, alice: APIClient, emulator: Emulator, broken: set[str], caplog: pytest.LogCaptureFixture
    ) -> None:
        self.save(alice, broken, *(f"{number:02}.txt" for number in range(12)), of_these=12)
        syncs.run()
        assert_that_it_waits(alice)
        assert caplog.text.count("EACCES") <= away.MOST_TROUBLES + lanes.AT_ONCE

    def test_after_an_hour_without_anything_done_the_sync_fails_as_operators_fault_and_comes_again_in_an_hour(
        self, alice: APIClient, emulator: Emulator, broken: set[str]
    ) -> None:
        self.save(alice, broken, "a.txt", "b.txt")
        syncs.run()
        an_hour_ago = database_now() - timedelta(hours=1)
        Knowledge.objects.update(away_since=an_hour_ago)
        later()
        assert shown(alice) == ("FAILED", f"{away.FOR_LONG} (the last one: a.txt).")
        assert [problem.subject for problem in alerting.problems()] == ["b"]
        assert syncs.states() == {"file:a.txt": "waiting", "file:b.txt": "ready"}
        knowledge = Knowledge.objects.get()
        assert knowledge.retry_at is not None
        assert timedelta(minutes=59) < knowledge.retry_at - database_now() <= timedelta(hours=1)
        syncs.look_after()
        assert shown(alice)[0] == "FAILED"
        broken.clear()
        Knowledge.objects.update(retry_at=database_now())
        syncs.look_after()
        syncs.run()
        assert shown(alice) == ("SUCCEEDED", status.SUCCEEDED)
        assert list(alerting.problems()) == []

    def test_the_hour_begins_anew_with_everything_that_is_done(
        self, alice: APIClient, emulator: Emulator, broken: set[str]
    ) -> None:
        self.save(alice, broken, "a.txt", "b.txt", "c.txt", of_these=2)
        syncs.run()
        broken -= {hashlib.sha256(b"What a.txt says.").hexdigest()}
        Knowledge.objects.update(away_since=database_now() - timedelta(minutes=59))
        later()
        assert_that_it_waits(alice)
        assert syncs.states()["file:a.txt"] == "ready"
        assert not Knowledge.objects.filter(away_since__lt=database_now() - timedelta(minutes=1)).exists()
