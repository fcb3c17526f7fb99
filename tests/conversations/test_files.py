"""Images and documents of a conversation: inline, as in the contract, or as addresses to fetch them from."""

import base64
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.blobs import local_storage, storing
from bedrock_chat.identity import local
from conversations import access
from conversations.content.blocks import DOCUMENT_TYPES
from conversations.models import Conversation, Message
from conversations.tree import Tree
from tests import build
from tests.conversations.chat import read, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]


@pytest.fixture
def blocks(png: str) -> list[dict[str, Any]]:
    """A message's content, with an image, a document, and a tool's result that holds both."""
    parts = [
        {"text": "found"},
        {"json": {"some_key": 1}},
        {"format": "png", "image": png},
        {"format": "html", "name": "a page", "document": "PHA+SGk8L3A+"},
    ]
    return [
        {"contentType": "text", "body": "Look!"},
        {"contentType": "image", "mediaType": "image/png", "body": png},
        {"contentType": "attachment", "fileName": "Notes.TXT", "body": "bm90ZXM="},
        {"contentType": "toolResult", "body": {"toolUseId": "t1", "status": "success", "content": parts}},
    ]


@pytest.fixture
def alice(client_of: ClientOf, emulator: Emulator, blocks: list[dict[str, Any]]) -> APIClient:
    client = client_of("alice")
    assert say(client, "c1", blocks, message_id="q1").status_code == 200
    return client


def content_of(client: APIClient, query: str = "") -> list[dict[str, Any]]:
    response = client.get(f"/conversation/c1{query}")
    assert response.status_code == 200, response.content
    content: list[dict[str, Any]] = response.json()["messageMap"]["q1"]["content"]
    return content


def with_bodies(blocks: Any) -> Iterator[dict[str, Any]]:
    """The blocks and parts that hold a file."""
    for block in blocks:
        parts = block["body"]["content"] if block["contentType"] == "toolResult" else [block]
        yield from (part for part in parts if {"mediaType", "fileName", "format"} & part.keys())


def fetch(url: str) -> Any:
    """The response to a browser without a token."""
    parts = urlsplit(url)
    return Client().get(f"{parts.path}?{parts.query}")


@pytest.mark.parametrize("query", ["", "?blobs=inline"])
def test_inline_is_what_was_sent(alice: APIClient, blocks: list[dict[str, Any]], query: str) -> None:
    assert content_of(alice, query) == blocks


def test_by_reference_every_body_is_an_address_instead(alice: APIClient, blocks: list[dict[str, Any]]) -> None:
    shown = content_of(alice, "?blobs=reference")
    assert [block["contentType"] for block in shown] == [block["contentType"] for block in blocks]
    assert shown[0] == blocks[0]
    files = list(with_bodies(shown))
    sent = list(with_bodies(blocks))
    assert len(files) == 4
    for file, original in zip(files, sent, strict=True):
        kind = next(kind for kind in ("image", "document", "body") if kind in original)
        assert file == {**original, kind: "", "url": file["url"]}
        assert fetch(file["url"]).getvalue() == base64.b64decode(original[kind])


def test_addresses_name_the_type_and_the_file(alice: APIClient) -> None:
    responses = [fetch(file["url"]) for file in with_bodies(content_of(alice, "?blobs=reference"))]
    assert [(response["Content-Type"], response["Content-Disposition"]) for response in responses] == [
        ("image/png", 'inline; filename="image.png"'),
        ("text/plain", 'attachment; filename="Notes.TXT"'),
        ("image/png", 'inline; filename="image.png"'),
        ("text/html", 'attachment; filename="a page.html"'),
    ]


def test_no_file_is_read_where_addresses_are_given(alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_storage.LocalFiles, "_open", lambda *_: pytest.fail("a file was read"))
    assert len(list(with_bodies(content_of(alice, "?blobs=reference")))) == 4


def test_each_file_is_read_once(alice: APIClient, png: str, monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    say(alice, "c1", [image, image])
    names: list[str] = []
    unpatched = local_storage.LocalFiles._open
    monkeypatch.setattr(
        local_storage.LocalFiles, "_open", lambda self, name, mode: names.append(name) or unpatched(self, name, mode)
    )
    content_of(alice)
    assert len(names) == len(set(names)) == 3


def test_the_database_connection_is_let_go_before_a_file_is_read(
    alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[bool] = []
    unpatched = storing.StoredFiles.read

    def reading(files: storing.StoredFiles, sha256: str) -> bytes:
        body = unpatched(files, sha256)
        connected.append(connection.connection is not None)
        return body

    monkeypatch.setattr(storing.StoredFiles, "read", reading)
    content_of(alice)
    build.related_document(
        Message.objects.get(role="assistant"), "t@0", content={"format": "png", "blob": image_sha256(), "kind": "image"}
    )
    assert alice.get("/conversation/c1/related-documents").status_code == 200
    assert alice.get("/conversation/c1/related-documents/t@0").status_code == 200
    assert len(connected) == 5
    assert connection.vendor == "sqlite" or not any(connected)


def image_sha256() -> str:
    """The name of the image's blob."""
    sha256: str = Message.objects.get(external_id="q1").content[1]["blob"]
    return sha256


def test_a_lost_file_leaves_its_conversation_readable(alice: APIClient, caplog: pytest.LogCaptureFixture) -> None:
    build.lose(image_sha256())
    with caplog.at_level(logging.ERROR):
        assert next(file.get("body", file.get("image")) for file in with_bodies(content_of(alice))) == ""
    assert image_sha256() in caplog.text


def test_a_lost_file_leaves_its_conversation_open_to_questions(
    alice: APIClient, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    build.lose(image_sha256())
    with caplog.at_level(logging.ERROR):
        assert say(alice, "c1", "What was in it?").status_code == 200
    assert image_sha256() in caplog.text
    sent = emulator.requests()[-1]["body"]["messages"][0]["content"]
    assert [next(iter(block)) for block in sent[:3]] == ["text", "text", "document"]
    assert sent[1] == {"text": "(image.png was here; the file has been lost.)"}


def test_files_of_a_branch_cost_one_query_however_many_they_are(alice: APIClient, png: str) -> None:
    say(alice, "plain", "hello")
    costs = {}
    for name in ("plain", "c1"):
        with CaptureQueriesContext(connection) as captured:
            assert say(alice, name, "and?").status_code == 200
        turn = len(captured)
        with CaptureQueriesContext(connection) as captured:
            assert alice.get(f"/conversation/{name}").status_code == 200
        costs[name] = (turn, len(captured))
    assert costs["c1"] == (costs["plain"][0] + 1, costs["plain"][1] + 1)


def test_a_conversation_that_is_deleted_while_it_is_read_is_not_there(
    alice: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_tree = access.read_tree

    def deleted_meanwhile(conversation: Conversation, now: datetime) -> Tree:
        tree = read_tree(conversation, now)
        assert alice.delete("/conversation/c1").status_code == 200
        return tree

    monkeypatch.setattr(access, "read_tree", deleted_meanwhile)
    response = alice.get("/conversation/c1")
    assert (response.status_code, response.json()["detail"]) == (404, "No conversation found with id: c1")


def test_related_documents_come_by_reference_too(alice: APIClient, png: str) -> None:
    build.related_document(
        Message.objects.get(role="assistant"), "t@0", content={"format": "png", "blob": image_sha256(), "kind": "image"}
    )
    path = "/conversation/c1/related-documents"
    assert [document["content"] for document in alice.get(path).json()] == [{"format": "png", "image": png}]
    [listed] = alice.get(f"{path}?blobs=reference").json()
    assert listed == alice.get(f"{path}/t@0?blobs=reference").json()
    assert (listed["content"]["format"], listed["content"]["image"]) == ("png", "")
    assert fetch(listed["content"]["url"]).getvalue() == base64.b64decode(png)


@pytest.mark.parametrize("path", ["", "/related-documents", "/related-documents/t@0"])
def test_there_are_no_other_ways(alice: APIClient, path: str) -> None:
    for value in ("", "url", "Inline", "reference,inline"):
        response = alice.get(f"/conversation/c1{path}", {"blobs": value})
        assert (response.status_code, response.json()["errors"]) == (
            400,
            ["blobs: expected inline or reference."],
        )


def test_an_address_dies_with_the_conversation(alice: APIClient) -> None:
    urls = [file["url"] for file in with_bodies(content_of(alice, "?blobs=reference"))]
    assert alice.delete("/conversation/c1").status_code == 200
    assert [fetch(url).status_code for url in urls] == [404] * 4


def test_nobody_gets_an_address_of_somebody_elses_file(alice: APIClient, client_of: ClientOf, png: str) -> None:
    for other in (client_of("bob"), client_of("carol", "Admin")):
        assert other.get("/conversation/c1?blobs=reference").status_code == 404
    build.conversation(local.local_user("bob"), "c1")
    assert "/blobs/" not in str(read(client_of("bob"), "c1"))


@pytest.mark.parametrize(("form", "content_type"), DOCUMENT_TYPES.items())
def test_every_kind_of_document_has_its_type(alice: APIClient, form: str, content_type: str) -> None:
    say(
        alice,
        "c2",
        [{"contentType": "text", "body": "x"}, {"contentType": "attachment", "fileName": f"a.{form}", "body": "eA=="}],
        message_id="q2",
    )
    [block] = alice.get("/conversation/c2?blobs=reference").json()["messageMap"]["q2"]["content"][1:]
    assert fetch(block["url"])["Content-Type"] == content_type
