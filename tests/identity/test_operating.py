"""Operators suspend, restore, export and erase people; when somebody was seen last costs no request a write."""

import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.identity import last_seen
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.people import erasing, exporting, suspending
from bedrock_chat.people.models import Erasure
from bedrock_chat.retention import holds
from bedrock_chat.wire.errors import BadRequest, Conflict, NotFound
from conversations.models import Conversation
from tests.conversations.chat import say
from tests.emulator import Emulator
from tests.traces import anything_of

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

ClientOf = Callable[..., APIClient]
OLGA = Caller(user_id="local:olga", is_operator=True)


def user(client: APIClient, name: str = "alice") -> User:
    client.get("/conversations")
    return User.objects.get(username=name)


def verbs() -> list[tuple[str, str, str]]:
    entries = AuditEntry.objects.filter(target_kind="user").order_by("pk")
    return [(entry.verb, entry.target_id, entry.actor_kind) for entry in entries]


def run_erasure(kind: str = erasing.KIND) -> None:
    for job in queue.claim("worker", 50):
        if job.kind == kind:
            performing.perform(job)
        else:
            queue.give_back(job)


def test_a_suspended_persons_next_request_is_a_403_until_they_are_restored(client_of: ClientOf) -> None:
    alice = client_of("alice")
    sub = user(alice).pk
    assert suspending.suspend(sub, actor=OLGA)
    assert not suspending.suspend(sub, actor=OLGA)
    assert alice.get("/conversations").status_code == 403
    assert suspending.restore(sub, actor=OLGA)
    assert alice.get("/conversations").status_code == 200
    assert verbs() == [("suspend", sub, "operator"), ("restore", sub, "operator")]
    with pytest.raises(BadRequest):
        suspending.suspend("local:olga", actor=OLGA)
    with pytest.raises(NotFound):
        suspending.suspend("nobody", actor=OLGA)


def test_an_erasure_suspends_at_once_and_the_job_tells_how_far_it_is(client_of: ClientOf, emulator: Emulator) -> None:
    alice, bob = client_of("alice"), client_of("bob")
    say(alice, "c1", "my name is Rumpelstilzchen")
    say(bob, "c1", "hello")
    sub = user(alice).pk
    erasing.ask(sub, actor=OLGA)
    erasing.ask(sub, actor=OLGA)
    assert alice.get("/conversations").status_code == 403
    with pytest.raises(Conflict):
        suspending.restore(sub, actor=OLGA)
    assert Job.objects.filter(kind=erasing.KIND).count() == 1
    run_erasure()
    assert not User.objects.filter(pk=sub).exists()
    assert Conversation.objects.get().user == user(bob, "bob")
    erasure = Erasure.objects.get()
    assert erasure.finished_at is not None
    assert "1 conversations are deleted." in erasure.steps
    assert "erased:" not in str(erasure.steps)  # nothing ties the person to the id that names nobody
    assert verbs()[-1] == ("erase", sub, "operator")
    assert not Job.objects.filter(kind=erasing.KIND).exists()
    assert anything_of("Rumpelstilzchen") == []
    assert set(anything_of(sub)) == {"bedrock_chat_auditentry", "bedrock_chat_erasure"}
    Erasure.objects.update(finished_at=timezone.now() - timedelta(days=8))
    Job.objects.filter(kind=erasing.FORGET_KIND).update(due_at=timezone.now())
    run_erasure(erasing.FORGET_KIND)
    assert set(anything_of(sub)) == {"bedrock_chat_auditentry"}


def test_who_is_on_hold_is_not_erased_and_the_reason_is_told(client_of: ClientOf) -> None:
    sub = user(client_of("alice")).pk
    holds.hold_person(sub, reason="A lawsuit", actor=OLGA)
    with pytest.raises(Conflict, match="A lawsuit"):
        erasing.ask(sub, actor=OLGA)
    assert User.objects.get(pk=sub).is_active
    holds.release_person(sub, actor=OLGA)
    erasing.ask(sub, actor=OLGA)
    with pytest.raises(BadRequest):
        erasing.ask("local:olga", actor=OLGA)
    with pytest.raises(NotFound):
        erasing.ask("nobody", actor=OLGA)


def test_an_erasure_of_somebody_who_is_gone_ends(client_of: ClientOf) -> None:
    sub = user(client_of("alice")).pk
    erasing.ask(sub, actor=OLGA)
    User.objects.all().delete()
    run_erasure()
    assert Erasure.objects.get().finished_at is not None
    assert not Job.objects.filter(kind=erasing.KIND).exists()


def test_an_export_is_a_zip_that_is_made_while_it_is_sent(client_of: ClientOf, emulator: Emulator, png: str) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    say(alice, "c1", [image, {"contentType": "text", "body": "こんにちは"}])
    sub = user(alice).pk
    pieces = exporting.zipped(sub, actor=OLGA)
    assert verbs() == [("export", sub, "operator")]  # before the first byte
    with zipfile.ZipFile(BytesIO(b"".join(pieces))) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert len(names) == len(set(names))
        assert json.loads(archive.read("user.json"))["username"] == "alice"
        [conversation] = archive.read("conversations.jsonl").decode().splitlines()
        assert "こんにちは" in conversation
        assert len([name for name in names if name.startswith("files/")]) == 1
    with pytest.raises(NotFound):
        exporting.zipped("nobody", actor=OLGA)


def test_when_somebody_was_seen_last_is_written_by_the_heartbeat_to_a_quarter_hour(
    client_of: ClientOf, django_assert_num_queries: Any
) -> None:
    alice = client_of("alice")
    sub = user(alice).pk
    assert User.objects.get(pk=sub).seen_at is None
    last_seen.write()
    seen_at = User.objects.get(pk=sub).seen_at
    assert seen_at is not None
    assert timezone.now() - seen_at < timedelta(minutes=1)
    alice.get("/conversations")
    with django_assert_num_queries(0):
        last_seen.write()
    User.objects.update(seen_at=timezone.now() - timedelta(minutes=16))
    alice.get("/conversations")
    with django_assert_num_queries(1):
        last_seen.write()
