"""A person who published bots is erased: nothing is left of their APIs, withdrawn ones included."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation
from publication import running
from publication.models import ApiKey, Gate, Publication, PublicationOwner, TurnRequest
from tests.bots.bot import body, make, share
from tests.conversations.chat import say
from tests.publication.api import Api, publish, question, work
from tests.traces import anything_of

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
WORD = "Rumpelstilzchen"
COMMAND = Program.command("erase_user")


def id_of(name: str) -> str:
    return User.objects.get(username=name).pk


def erase(name: str) -> str:
    sub = id_of(name)
    list(erasing.erase(sub, actor=COMMAND))
    return sub


@pytest.fixture
def used(api: Api, dave: APIClient, bob: APIClient, png: str) -> Api:
    """Dave's API, which he withdrew and published again, with answered and waiting questions; and one of Bob's."""
    api.ask(WORD, userLabel=WORD)
    work()
    assert body(dave.delete("/bot/helper/publication")) is None
    again = publish(dave, "helper")
    again.ask(WORD)
    work()
    waiting = question(WORD)
    waiting["message"]["content"].append({"contentType": "image", "mediaType": "image/png", "body": png})
    body(again.post(waiting))
    make(bob, "bobs")
    share(bob, "bobs", "all")
    publish(bob, "bobs").ask("of Bob")
    return again


def test_nothing_of_their_apis_is_left_and_others_stay(used: Api) -> None:
    assert Conversation.objects.filter(publication_id__isnull=False).count() == 2
    sub = erase("dave")
    assert anything_of(WORD) == []
    assert set(anything_of(sub)) == {"bedrock_chat_auditentry"}
    assert used.get("/health").status_code == 403
    [bobs] = Publication.objects.values_list("pk", flat=True)
    assert list(PublicationOwner.objects.values_list("pk", flat=True)) == [bobs]
    assert set(Gate.objects.values_list("publication_id", flat=True)) == {bobs}
    assert list(TurnRequest.objects.values_list("publication_id", flat=True)) == [bobs]
    assert ApiKey.objects.count() == Job.objects.filter(kind=running.KIND).count() == 1
    assert not Conversation.objects.exists()
    assert not BlobReference.objects.exists()


def test_what_was_paid_stays_and_names_nobody(used: Api) -> None:
    before = list(ModelCall.objects.order_by("pk").values_list("pk", "price"))
    erase("dave")
    assert list(ModelCall.objects.order_by("pk").values_list("pk", "price")) == before
    payers = set(ModelCall.objects.values_list("payer_id", "user_label"))
    assert len(payers) == 1
    assert all(payer.startswith("erased:") and label == "" for payer, label in payers)


def test_a_call_that_ends_when_its_payer_is_gone_names_nobody(used: Api) -> None:
    call = ModelCall.objects.filter(payer_id=id_of("dave")).exclude(user_label="").get()
    erase("dave")
    call.pk, call.turn_id = None, None
    recording.insert_late([call])
    stored = ModelCall.objects.latest("pk")
    assert stored.pk == call.pk
    assert (stored.payer_id or "").startswith("erased:")
    assert (stored.user_id, stored.user_label) == (None, "")


def test_the_end_of_each_api_and_key_is_recorded(used: Api) -> None:
    before = AuditEntry.objects.count()
    key = ApiKey.objects.get(publication__bot="helper").pk
    erase("dave")
    entries = AuditEntry.objects.order_by("pk")[before:]
    assert [(entry.verb, entry.target_kind, entry.target_id, entry.actor_id) for entry in entries] == [
        ("revoke", "api key", key, "erase_user"),
        ("withdraw", "bot", "helper", "erase_user"),
        ("delete", "bot", "helper", "erase_user"),
    ]


def test_a_question_that_was_let_in_before_is_removed_by_its_job(used: Api) -> None:
    """Its request had been let in, and came to its transaction when the person was gone."""
    turn = TurnRequest.objects.filter(done_at=None).exclude(content=[]).earliest("pk")
    erase("dave")
    turn.save(force_insert=True)
    queue.enqueue(running.KIND, {"turn": turn.pk}, key=running.job_key(turn.pk))
    work()
    assert anything_of(WORD) == []
    assert not queue.claim("worker", 10)


def test_after_a_withdrawal_its_conversations_are_unreachable_and_kept_until_then(api: Api, dave: APIClient) -> None:
    conversation, message = api.ask("hello")
    work()
    dave.delete("/bot/helper/publication")
    again = publish(dave, "helper")
    for path in (f"/conversation/{conversation}", f"/conversation/{conversation}/{message}"):
        assert api.get(path).status_code == 403
        assert again.get(path).status_code == 404
    assert dave.get(f"/conversation/{conversation}").status_code == 404
    assert Conversation.objects.count() == 1
    erase("dave")
    assert not Conversation.objects.exists()


def test_erasing_somebody_else_touches_no_api(used: Api, alice: APIClient) -> None:
    assert say(alice, "c", "hello").status_code == 200
    rows = [list(model.objects.values()) for model in (Publication, PublicationOwner, Gate, TurnRequest)]
    erase("alice")
    assert [list(model.objects.values()) for model in (Publication, PublicationOwner, Gate, TurnRequest)] == rows
    assert Conversation.objects.count() == 2


def test_a_person_gets_their_apis_with_conversations_and_without_values(used: Api, tmp_path: Path) -> None:
    call_command("export_user", id_of("dave"), "--to", str(tmp_path / "export"))
    lines: Callable[[str], list[Any]] = lambda name: [  # noqa: E731
        json.loads(line) for line in (tmp_path / "export" / f"{name}.jsonl").read_text().splitlines()
    ]
    [publication] = lines("publications")
    [key] = lines("api-keys")
    assert (publication["botId"], publication["apiKeyIds"], key["botId"]) == ("helper", [key["id"]], "helper")
    assert "value" not in key
    entries = lines("published-conversations")
    assert {entry["id"] for entry in entries} == set(
        Conversation.objects.filter(publication_id__isnull=False).values_list("external_id", flat=True)
    )
    assert all(WORD in json.dumps(entry) for entry in entries)
    assert [entry["userLabel"] for entry in lines("published-questions")] == [WORD, "", ""]
    assert len(lines("published-calls")) == ModelCall.objects.filter(payer_id=id_of("dave")).count()
    everything = "".join(path.read_text() for path in (tmp_path / "export").glob("*.jsonl"))
    row = ApiKey.objects.get(publication__bot="helper")
    for secret in (used.key, row.digest, row.encrypted_value, "of Bob"):
        assert secret not in everything
