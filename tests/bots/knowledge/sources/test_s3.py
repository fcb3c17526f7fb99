"""Folders in S3 (moto's server): only those that operators allow, listed in parts, read where they have changed."""

import hashlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from django.core.exceptions import ImproperlyConfigured
from moto.server import ThreadedMotoServer

from bedrock_chat import environment
from bedrock_chat.blobs import s3_folders
from bedrock_chat.process.interruption import Interrupted
from bots.knowledge.sources import fetching, s3
from bots.knowledge.sources.locations import NOTHING_KNOWN, FetchContext, Known, Listed, SourceFault
from tests.outbound.servers import Server, until_left

BUCKET = "handbooks"
FOLDER = f"s3://{BUCKET}/team/"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    running = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def client(server: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket that bots may read, with nothing in it."""
    keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
    for name, value in {**keys, "AWS_ENDPOINT_URL_S3": server}.items():
        monkeypatch.setenv(name, value)
    settings.AWS_REGION = "us-east-1"
    settings.KNOWLEDGE_S3 = ((BUCKET, ""), ("missing", ""))
    s3_folders.forget_client()
    made = boto3.client("s3", region_name="us-east-1")
    made.create_bucket(Bucket=BUCKET)
    yield made
    for entry in made.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        made.delete_object(Bucket=BUCKET, Key=entry["Key"])
    made.delete_bucket(Bucket=BUCKET)
    s3_folders.forget_client()


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
    for size in (None, 1_100_000):
        with pytest.raises(SourceFault, match=r"^This file is larger than 1 MB\.$"):
            fetching.fetch(s3.location(f"{FOLDER}a.txt", size=size), NOTHING_KNOWN, context)
    with pytest.raises(SourceFault, match=r"save it as DOCX\.$") as unread:
        fetching.fetch(s3.location(f"{FOLDER}a.doc"), NOTHING_KNOWN, context)
    assert unread.value.is_skipped
    assert list(folder.iterdir()) == []


@pytest.mark.usefixtures("client")
def test_an_s3_that_refuses_fails_or_hangs_costs_its_time_and_is_a_sentence(
    context: FetchContext, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>secret</Message></Error>"
    answers: Any = {
        "S3 answered AccessDenied.": lambda connection, _: connection.sendall(
            b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % len(denied) + denied
        ),
        "S3 did not answer in time.": lambda connection, _: until_left(connection),
        "S3 cannot be reached.": lambda connection, _: connection.close(),
    }
    for sentence, answer in answers.items():
        settings.BLOB_TIMEOUT = 0.5 if "in time" in sentence else 15
        with Server(answer) as server:
            monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
            s3_folders.forget_client()
            with pytest.raises(SourceFault) as fault:
                s3.listed(FOLDER, {}, context)
        assert fault.value.sentence == sentence


@pytest.mark.usefixtures("client")
def test_a_stop_ends_a_call_to_s3(context: FetchContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(connection: socket.socket, _: str) -> None:
        context.interruption.request()
        until_left(connection)

    with Server(stopping) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        s3_folders.forget_client()
        started = time.monotonic()
        with pytest.raises(Interrupted):
            fetching.fetch(s3.location(f"{FOLDER}a.txt"), NOTHING_KNOWN, context)
    assert time.monotonic() - started < 10
