"""Folders in S3 (moto's server): only those that operators allow, listed in parts, read where they have changed."""

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from bedrock_chat import environment
from bedrock_chat.blobs import s3_folders
from bedrock_chat.process.interruption import Interrupted, Interruption
from bots.knowledge.sources import fetching, s3
from bots.knowledge.sources.locations import NOTHING_KNOWN, FetchContext, Known, Listed, SourceFault
from bots.knowledge.states import Blame
from tests.bots.knowledge.sources.buckets import BUCKET, KEYS, bucket
from tests.outbound.servers import Answer, Server, plain, until_left
from tests.serving.conftest import small_disk

__all__ = ["bucket", "small_disk"]

FOLDER = f"s3://{BUCKET}/team/"


@pytest.fixture
def client(bucket: Any, settings: Any) -> Any:
    """The bucket, which bots may read, with nothing in it."""
    settings.AWS_REGION = "us-east-1"
    settings.KNOWLEDGE_S3 = ((BUCKET, ""), ("missing", ""))
    for entry in bucket.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        bucket.delete_object(Bucket=BUCKET, Key=entry["Key"])
    return bucket


@pytest.fixture
def in_its_place(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[list[Answer]]:
    """A server that stands in the place of S3; the first of these answers is its."""
    answers: list[Answer] = [until_left_by]
    settings.KNOWLEDGE_S3 = ((BUCKET, ""),)
    with Server(lambda connection, line: answers[0](connection, line)) as server:
        for name, value in {**KEYS, "AWS_ENDPOINT_URL_S3": server.url}.items():
            monkeypatch.setenv(name, value)
        s3_folders.forget_client()
        yield answers
    s3_folders.forget_client()


def until_left_by(connection: socket.socket, _: str) -> None:
    until_left(connection)


def parts(url: str, context: FetchContext) -> list[Listed]:
    listed = [s3.listed(url, {}, context)]
    while listed[-1].rest is not None:
        listed.append(s3.listed(url, listed[-1].rest, context))
    return listed


# ---- What is allowed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "url", "is_allowed"),
    [
        ("", FOLDER, False),
        ("handbooks", FOLDER, True),
        ("handbooks", "s3://handbooks/", True),
        ("handbooks", "s3://handbooks-old/", False),
        ("other, s3://handbooks/team/", FOLDER, True),
        ("handbooks/team", "s3://handbooks/team/a/b.pdf", True),
        ("handbooks/team", "s3://handbooks/team-old/", False),
        ("handbooks/team", "s3://handbooks/", False),
        ("blobs, handbooks", "s3://blobs/", False),
        ("blobs/public", "s3://blobs/public/", False),
        ("handbooks", "https://handbooks/", False),
        ("handbooks", "s3://handbooks", False),
        ("handbooks", "s3://handbooks/a\nb", False),
    ],
)
def test_operators_name_what_bots_may_read_and_never_the_bucket_of_this_servers_files(
    settings: Any, monkeypatch: pytest.MonkeyPatch, setting: str, url: str, is_allowed: bool
) -> None:
    monkeypatch.setenv("KNOWLEDGE_S3", setting)
    settings.KNOWLEDGE_S3 = environment.buckets("KNOWLEDGE_S3")
    settings.BLOB_BUCKET = "blobs"
    assert s3.is_allowed(url) is is_allowed


@pytest.mark.parametrize("word", ["https://bucket/", "Bucket", "-bucket", "buck et", "/folder"])
def test_what_names_no_bucket_stops_the_start(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("KNOWLEDGE_S3", word)
    with pytest.raises(ImproperlyConfigured, match="KNOWLEDGE_S3"):
        environment.buckets("KNOWLEDGE_S3")


def test_what_is_not_allowed_is_neither_listed_nor_fetched(context: FetchContext, settings: Any) -> None:
    settings.KNOWLEDGE_S3 = ()
    for call in (
        lambda: s3.listed(FOLDER, {}, context),
        lambda: fetching.fetch(s3.location(f"{FOLDER}a.pdf"), NOTHING_KNOWN, context),
    ):
        with pytest.raises(SourceFault, match=r"^This bucket is not allowed here\.$"):
            call()


# ---- Lists and objects ----------------------------------------------------------------------------------------------


def test_a_folder_is_listed_in_parts_and_what_is_not_read_is_counted(
    client: Any, context: FetchContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_folders, "OBJECTS_A_PAGE", 3)
    keys = ["a/invoice.pdf", "b/invoice.pdf", "größe & so+?#.md", "..up.txt", "x.exe", "none", "folder/"]
    for key in keys:
        client.put_object(Bucket=BUCKET, Key=f"team/{key}", Body=key.encode())
    client.put_object(Bucket=BUCKET, Key="team-old/a.pdf", Body=b"x")
    listed = parts(FOLDER, context)
    assert len(listed) == 3
    locations = {location.location: location for part in listed for location in part.locations}
    assert locations.keys() == {f"{FOLDER}{key}" for key in keys[:4]}
    assert {location.name for location in locations.values()} == {"invoice.pdf", "größe & so+?#.md", "..up.txt"}
    assert sum(part.skipped for part in listed) == 2
    invoice = locations[f"{FOLDER}a/invoice.pdf"]
    assert (invoice.kind, invoice.size, invoice.link) == ("s3", len("a/invoice.pdf"), "")
    assert invoice.etag == f'"{hashlib.md5(b"a/invoice.pdf").hexdigest()}"'
    for location in locations.values():
        fetched = fetching.fetch(location, NOTHING_KNOWN, context)
        assert fetched.path is not None
        assert fetched.path.parent == context.folder
        assert f"{FOLDER}{fetched.path.read_text()}" == location.location


def test_an_object_that_has_not_changed_is_not_fetched(client: Any, context: FetchContext, folder: Path) -> None:
    client.put_object(Bucket=BUCKET, Key="team/a.txt", Body=b"first")
    [listed] = parts(FOLDER, context)
    [location] = listed.locations
    fetched = fetching.fetch(location, NOTHING_KNOWN, context)
    assert (fetched.kind, fetched.etag, fetched.digest) == ("txt", location.etag, hashlib.sha256(b"first").hexdigest())
    known = Known(etag=fetched.etag, digest=fetched.digest)
    client.delete_object(Bucket=BUCKET, Key="team/a.txt")
    assert fetching.fetch(location, known, context).is_unchanged  # S3 was not even asked
    client.put_object(Bucket=BUCKET, Key="team/a.txt", Body=b"first")
    without_list = s3.location(location.location)
    assert fetching.fetch(without_list, known, context).is_unchanged
    other_tag = fetching.fetch(without_list, Known(etag='"other"', digest=fetched.digest), context)
    assert (other_tag.is_unchanged, other_tag.path) == (True, None)
    client.put_object(Bucket=BUCKET, Key="team/a.txt", Body=b"second")
    assert not fetching.fetch(without_list, known, context).is_unchanged
    assert len(list(folder.iterdir())) == 2


def test_what_s3_does_not_give_is_a_sentence(client: Any, context: FetchContext, settings: Any, folder: Path) -> None:
    settings.KNOWLEDGE_FILE_MB = 1
    client.put_object(Bucket=BUCKET, Key="team/a.txt", Body=b"x" * 1_100_000)
    with pytest.raises(SourceFault, match=r"^There is no such object any more\.$") as gone:
        fetching.fetch(s3.location(f"{FOLDER}gone.txt"), NOTHING_KNOWN, context)
    assert gone.value.is_gone
    with pytest.raises(SourceFault, match=r"^There is no such bucket\.$") as missing:
        s3.listed("s3://missing/", {}, context)
    assert not missing.value.is_gone
    assert (gone.value.blame, missing.value.blame) == (Blame.SOURCE, Blame.OPERATOR)
    for size in (None, 1_100_000):
        with pytest.raises(SourceFault, match=r"^This file is larger than 1 MB\.$"):
            fetching.fetch(s3.location(f"{FOLDER}a.txt", size=size), NOTHING_KNOWN, context)
    with pytest.raises(SourceFault, match=r"save it as DOCX\.$") as unread:
        fetching.fetch(s3.location(f"{FOLDER}a.doc"), NOTHING_KNOWN, context)
    assert unread.value.is_skipped
    assert list(folder.iterdir()) == []


def test_a_disk_without_room_for_an_object_is_no_fault_of_s3(client: Any, small_disk: Path) -> None:
    client.put_object(Bucket=BUCKET, Key="team/a.txt", Body=bytes(3_000_000))
    with pytest.raises(OSError, match="No space left on device"):
        fetching.fetch(s3.location(f"{FOLDER}a.txt"), NOTHING_KNOWN, FetchContext(small_disk, Interruption()))
    assert list(small_disk.iterdir()) == []


def test_an_s3_that_refuses_fails_or_hangs_costs_its_time_and_is_a_sentence(
    in_its_place: list[Answer], context: FetchContext, settings: Any
) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>secret</Message></Error>"
    refusing: Answer = plain(denied, "403 Forbidden")
    for sentence, answer, seconds in (
        ("S3 answered AccessDenied.", refusing, 15),
        ("S3 cannot be reached.", lambda connection, _: connection.close(), 15),
        ("S3 did not answer in time.", until_left_by, 0.5),
    ):
        in_its_place[0], settings.BLOB_TIMEOUT = answer, seconds
        with pytest.raises(SourceFault) as fault:
            s3.listed(FOLDER, {}, context)
        assert (fault.value.sentence, fault.value.blame) == (sentence, Blame.OPERATOR)


def test_a_stop_ends_a_call_to_s3(in_its_place: list[Answer], context: FetchContext) -> None:
    def stopping(connection: socket.socket, _: str) -> None:
        context.interruption.request()
        until_left(connection)

    in_its_place[0] = stopping
    started = time.monotonic()
    with pytest.raises(Interrupted):
        fetching.fetch(s3.location(f"{FOLDER}a.txt"), NOTHING_KNOWN, context)
    assert time.monotonic() - started < 10
