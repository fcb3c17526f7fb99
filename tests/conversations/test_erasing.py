"""A person is forgotten, whole; what was spent stays, under an id that names nobody."""

import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.blobs import BlobReference
from bedrock_chat.database import release_connection
from bedrock_chat.identity.models import User
from conversations.models import Conversation, Message, ModelCall
from tests.conversations.chat import read, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]
WORD = "Rumpelstilzchen"


def erase(name: str) -> str:
    user = User.objects.get(username=name)
    call_command("erase_user", user.pk, "--yes")
    return user.pk


def everything() -> str:
    """All text of all tables of ours, as one string."""
    found = []
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
            found += [repr(row) for row in cursor.fetchall()]
    return "\n".join(found)


def test_nothing_of_a_person_is_left_and_nothing_of_others_is_touched(
    client_of: ClientOf, emulator: Emulator, png: str
) -> None:
    alice, bob = client_of("alice"), client_of("bob")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    for client in (alice, bob):
        for number in range(3):
            assert say(client, f"c{number}", [image, {"contentType": "text", "body": "hello"}]).status_code == 200
    say(alice, "c0", f"my name is {WORD}")
    alice.patch("/conversation/c1/title", {"newTitle": f"{WORD}'s plans"}, format="json")
    before = read(bob, "c1")
    alices_calls, bobs_id = ModelCall.objects.filter(user_id=User.objects.get(username="alice").pk).count(), "bob"
    sub = erase("alice")
    told = everything()
    assert WORD not in told
    assert sub not in told
    assert not User.objects.filter(username="alice").exists()
    assert read(bob, "c1") == before
    assert Conversation.objects.count() == 3
    assert BlobReference.objects.count() == 3
    kept = ModelCall.objects.filter(user_id__startswith="erased:")
    assert kept.count() == alices_calls == 4
    assert len(set(kept.values_list("user_id", flat=True))) == 1
    assert all(call.output_tokens > 0 for call in kept)
    assert User.objects.filter(username=bobs_id).exists()


def test_a_turn_that_runs_is_stopped_and_closes_under_nobodys_name(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")

    def ask() -> None:
        say(alice, "c1", "[[silence:20]] hello")
        release_connection(final=True)

    asking = threading.Thread(target=ask)
    asking.start()
    deadline = time.monotonic() + 10
    while not emulator.requests():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    sub = erase("alice")
    asking.join(5)
    assert not asking.is_alive()
    assert not ModelCall.objects.filter(user_id=sub).exists()
    assert ModelCall.objects.get().stop_reason == "stopped"
    assert not Message.objects.exists()


def test_whoever_is_not_there_is_said_so() -> None:
    with pytest.raises(CommandError, match="No user found with id: nobody"):
        call_command("erase_user", "nobody", "--yes")


def test_nothing_happens_unless_it_is_meant(
    client_of: ClientOf, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(client_of("alice"), "c1", "hello")
    monkeypatch.setattr("builtins.input", lambda _: "alice")
    with pytest.raises(CommandError, match="Nothing was done"):
        call_command("erase_user", User.objects.get(username="alice").pk)
    assert Conversation.objects.exists()


def test_it_may_be_repeated_after_it_was_cut_short(
    client_of: ClientOf, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(client_of("alice"), "c1", "hello")
    sub = User.objects.get(username="alice").pk

    def full(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("conversations.editing.delete_rows", full)
        with pytest.raises(OSError, match="full"):
            call_command("erase_user", sub, "--yes")
    assert User.objects.get(pk=sub).is_active is False
    erase("alice")
    assert not Conversation.objects.exists()


def test_every_table_with_a_persons_id_is_thought_of() -> None:
    """A new one must be erased or renamed too; add it here once that is done."""
    pattern = re.compile(r"^(user|user_id|owner.*)$")
    found = {
        f"{model._meta.label}.{each.name}"
        for model in apps.get_models()
        if model._meta.app_label in ("bedrock_chat", "bots", "store", "conversations", "publication")
        for each in model._meta.concrete_fields
        if pattern.search(each.name)
    }
    assert found == {
        "bedrock_chat.BlobReference.owner_kind",  # an owner is a conversation, which goes
        "bedrock_chat.BlobReference.owner_id",
        "conversations.Conversation.user",
        "conversations.ModelCall.user_id",
    }
