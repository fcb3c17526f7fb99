"""An address of a bot's file opens it as long as the bot's knowledge has it, whatever the purge has done by then."""

from collections.abc import Callable
from urllib.parse import urlsplit

import pytest
from django.test import Client
from rest_framework.test import APIClient

from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bots import ownership
from bots.knowledge import linking
from bots.knowledge.models import Document
from tests.bots.bot import body, edit, make
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.test_retrieval import searching
from tests.bots.upload import change, digest, sources, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

LEAVE = b"Everybody has thirty days of leave."
TRAVEL = b"Trains are booked in second class."


@pytest.fixture
def link(alice: APIClient, emulator: Emulator) -> str:
    """The address of `leave.txt`, as it was given out once Alice's bot had read it."""
    upload(alice, "b", "leave.txt", LEAVE)
    upload(alice, "b", "travel.txt", TRAVEL)
    make(alice, "b", knowledge=sources("leave.txt", "travel.txt"))
    syncs.run()
    return link_of("leave.txt")


def link_of(name: str) -> str:
    document = Document.objects.get(name=name, state="ready")
    parts = urlsplit(linking.addresses({document.pk}, "b")[document.pk])
    return f"{parts.path}?{parts.query}"


def status(link: str) -> int:
    return Client().get(link).status_code


def edited(alice: APIClient) -> None:
    edit(alice, "b", knowledge=change(deleted=["leave.txt"], unchanged=["travel.txt"]))


def taken_out_of_all_versions(alice: APIClient) -> None:
    assert alice.delete(f"/bot/b/files/{digest(LEAVE)}").status_code == 200


def asked_elsewhere(alice: APIClient) -> None:
    edit(alice, "b", bedrockKnowledgeBase={**searching(), "existKnowledgeBaseId": "KBHANDBOOK"})


def deleted(alice: APIClient) -> None:
    assert alice.delete("/bot/b").status_code == 200


@pytest.mark.parametrize("remove", [edited, taken_out_of_all_versions, asked_elsewhere, deleted])
def test_an_address_of_a_removed_file_ends_with_the_edit_and_not_with_the_purge(
    alice: APIClient, link: str, remove: Callable[[APIClient], None]
) -> None:
    other = link_of("travel.txt")
    assert (status(link), status(other)) == (200, 200)
    remove(alice)
    assert BlobReference.objects.filter(blob=digest(LEAVE)).exists()  # nothing is purged yet, and versions keep files
    assert status(link) == 404
    assert status(other) == (200 if remove in (edited, taken_out_of_all_versions) else 404)


def test_an_address_of_an_earlier_content_ends_when_the_new_one_is_found(alice: APIClient, link: str) -> None:
    upload(alice, "b", "leave.txt", b"Everybody has forty days of leave.")
    edit(alice, "b", knowledge=change(added=["leave.txt"], unchanged=["leave.txt", "travel.txt"]))
    assert status(link) == 200  # the old text is what searches find
    syncs.run()
    assert status(link) == 404
    assert status(link_of("leave.txt")) == 200


def test_an_address_outlives_what_leaves_its_file_in_place(
    alice: APIClient, bob: APIClient, carol: APIClient, link: str
) -> None:
    chunking = {"chunkingStrategy": "fixed_size", "maxTokens": 50, "overlapPercentage": 10}
    edit(alice, "b", title="Another title", bedrockKnowledgeBase=searching(chunkingConfiguration=chunking))
    syncs.run()
    assert status(link) == 200
    admin = User.objects.get(username="carol")
    new_owner = User.objects.get(username="bob")
    ownership.transfer("b", new_owner.pk, actor=Caller(user_id=admin.pk, groups=frozenset({"Admin"})))
    syncs.run()
    assert status(link) == 200
    assert body(bob.delete("/bot/b")) is None
    assert status(link) == 404
