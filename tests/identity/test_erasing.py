"""Everything of a person is erased; what was spent stays, under an id that names nobody."""

import re
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db.models import F
from rest_framework.test import APIClient

from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import erasing, local
from bedrock_chat.identity.caller import Caller, Program
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.errors import Forbidden, NotFound
from conversations.models import Conversation, ConversationExport, Message
from conversations.operating import exports
from conversations.operating.exporting import Filters
from conversations.search import indexing
from conversations.serializers import read_chat_input
from conversations.turn import lifecycle
from conversations.turn.types import TurnEvent
from tests.conversations.chat import read, say
from tests.emulator import Emulator
from tests.together import at_once, wait_for
from tests.traces import anything_of

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]
WORD = "Rumpelstilzchen"
COMMAND = Program.command("erase_user")


def erase(name: str) -> str:
    user = User.objects.get(username=name)
    call_command("erase_user", user.pk, "--yes")
    return user.pk


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
    indexing.index_what_is_new()
    assert anything_of(WORD.lower())
    before = read(bob, "c1")
    alices_calls = ModelCall.objects.filter(user_id=User.objects.get(username="alice").pk).count()
    sub = erase("alice")
    assert anything_of(WORD) == anything_of(WORD.lower()) == []
    assert anything_of(sub) == ["bedrock_chat_auditentry"]  # that she was erased
    assert not User.objects.filter(username="alice").exists()
    assert read(bob, "c1") == before
    assert Conversation.objects.count() == 3
    assert BlobReference.objects.count() == 3
    kept = ModelCall.objects.filter(user_id__startswith="erased:")
    assert kept.count() == alices_calls == 4
    assert len(set(kept.values_list("user_id", flat=True))) == 1
    assert all(call.output_tokens > 0 for call in kept)
    assert User.objects.filter(username="bob").exists()


@pytest.mark.usefixtures("beating_heart")
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


def late_turn(user: User, png: str) -> Generator[TurnEvent, None, None]:
    """A turn that has not begun yet, of somebody who was let in before they were erased."""
    image = {"content_type": "image", "media_type": "image/png", "body": png}
    content = [image, {"content_type": "text", "body": WORD}]
    body = {"conversation_id": "late", "message": {"model": "claude-v4.5-sonnet", "content": content}}
    return lifecycle.run(read_chat_input(body), actor=Caller(user_id=user.pk))


@pytest.mark.parametrize("step", ["Suspended.", "0 conversations are deleted.", "The index of searches is compacted."])
def test_a_turn_that_begins_while_its_user_is_erased_leaves_nothing(emulator: Emulator, png: str, step: str) -> None:
    alice = local.local_user("alice")
    late = late_turn(alice, png)
    for sentence in erasing.erase(alice.pk, actor=COMMAND):
        if sentence == step:
            next(late)  # the question is stored
            Message.objects.update(lease_expires_at=F("created_at"))  # nobody waits for a turn that stands still
    with pytest.raises(NotFound):
        list(late)
    assert anything_of(alice.pk) == anything_of(WORD) == []
    assert not BlobReference.objects.exists()
    assert ModelCall.objects.get().user_id.startswith("erased:")


def test_a_turn_that_begins_when_its_user_is_gone_is_refused(emulator: Emulator, png: str) -> None:
    alice = local.local_user("alice")
    late = late_turn(alice, png)
    list(erasing.erase(alice.pk, actor=COMMAND))
    with pytest.raises(Forbidden, match="gone"):
        next(late)
    assert anything_of(alice.pk) == anything_of(WORD) == []


def test_a_title_that_is_proposed_meanwhile_names_nobody(client_of: ClientOf, emulator: Emulator) -> None:
    """Alice is erased while the model is asked for a title: its ledger row comes after the erasure."""
    alice = client_of("alice")
    say(alice, "c1", "hello")
    sub = User.objects.get(username="alice").pk
    emulator.clear_requests()
    emulator.script(wait=1.5)

    def erase_when_asked() -> None:
        wait_for(lambda: len(emulator.requests()) == 1)
        list(erasing.erase(sub, actor=COMMAND))

    proposal, _ = at_once(lambda: alice.get("/conversation/c1/proposed-title"), erase_when_asked)
    assert proposal.status_code == 200
    assert anything_of(sub) == []
    assert ModelCall.objects.filter(user_id__startswith="erased:").count() == 2


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


def test_exports_name_neither_the_person_nor_the_operator_who_is_erased(client_of: ClientOf) -> None:
    client_of("alice").get("/conversations")
    sub = User.objects.get(username="alice").pk
    of_alice, by_alice = (Filters(user_id=sub), Filters(user_id="bob"))
    exports.begin(of_alice, actor=Caller(user_id="local:olga", is_operator=True))
    exports.begin(by_alice, actor=Caller(user_id=sub, is_operator=True))
    erase("alice")
    assert list(ConversationExport.objects.values_list("user_id", "asked_by")) == [("bob", "")]


def test_it_may_be_repeated_after_it_was_cut_short(
    client_of: ClientOf, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    say(client_of("alice"), "c1", "hello")
    sub = User.objects.get(username="alice").pk

    def full(*_: Any, **__: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("conversations.deleting.delete_rows", full)
        with pytest.raises(OSError, match="full"):
            call_command("erase_user", sub, "--yes")
    assert User.objects.get(pk=sub).is_active is False
    erase("alice")
    assert not Conversation.objects.exists()


def test_every_table_with_a_persons_id_is_thought_of() -> None:
    """A new column must be erased or renamed too; add it here once that is done."""
    pattern = re.compile(r"^(user|user_id|payer_id|.*owner.*|author.*|grantee)$")
    columns = {
        f"{model._meta.label}.{field.name}"
        for model in apps.get_models()
        if model._meta.app_label in ("bedrock_chat", "bots", "store", "conversations", "publication")
        for field in model._meta.concrete_fields
        if pattern.search(field.name)
    }
    assert columns == {
        "bedrock_chat.BlobReference.owner_kind",  # an owner is a conversation, which goes
        "bedrock_chat.BlobReference.owner_id",
        "bedrock_chat.UsedUploadLink.user",  # goes with the user's row
        "bedrock_chat.OperatorSession.user",  # likewise
        "bedrock_chat.SecondFactor.user",
        "bots.Bot.owner",
        "bots.BotAlias.user",
        "bots.BotAlias.bot_owner_id",
        "bots.BotGrant.grantee",
        "bots.BotVersion.author_id",
        "conversations.Conversation.user",
        "conversations.RatedConversation.user",  # the same table
        "conversations.ConversationExport.user_id",
        "bedrock_chat.ModelCall.user_id",
        "bedrock_chat.ModelCall.payer_id",
        "bedrock_chat.ToolCall.user_id",
        "bedrock_chat.ToolCall.payer_id",
        "bedrock_chat.QuarterUsage.user_id",  # sums of reports: rollups/persons.py
        "bedrock_chat.QuarterUsage.payer_id",
        "bedrock_chat.DayUsage.user_id",
        "bedrock_chat.DayUsage.payer_id",
        "bedrock_chat.Refusal.payer_id",
        "bedrock_chat.Erasure.user_id",  # says for some days that they were erased: people/erasing.py
        "bedrock_chat.Budget.payer_id",
        "bedrock_chat.BudgetCounter.payer_id",  # goes with its budget
        "publication.PublicationOwner.user_id",
    }
