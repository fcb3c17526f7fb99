"""Operators suspend, restore, export and erase people; when somebody was seen last costs no request a write."""

import json
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from io import BytesIO, StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.db import transaction
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.identity import erasing as identity_erasing
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
from tests.together import at_once
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


def begun_erasure(sub: str) -> queue.Claimed:
    """The job of an erasure that a worker has begun, and that failed after a step."""
    [job] = queue.claim("worker", 1)
    Erasure.objects.filter(pk=sub).update(begun_at=timezone.now(), steps=["Suspended."])
    return job


def test_an_erasure_that_is_called_off_lets_the_person_in_again_and_its_worker_loses_the_job(
    client_of: ClientOf, emulator: Emulator
) -> None:
    alice = client_of("alice")
    say(alice, "c1", "hello")
    sub = user(alice).pk
    erasing.ask(sub, actor=OLGA)
    job = begun_erasure(sub)
    erasing.call_off(sub, actor=OLGA)
    assert alice.get("/conversations").status_code == 200
    assert not Erasure.objects.exists()
    assert not Job.objects.filter(kind=erasing.KIND).exists()
    assert verbs()[-1] == ("call off erasing", sub, "operator")
    Erasure.objects.create(user_id=sub, asked_at=timezone.now())  # as that worker has just seen it
    with pytest.raises(queue.LeaseLost):
        erasing.run(job)
    assert alice.get("/conversations").status_code == 200
    assert len(alice.get("/conversations").json()) == 1


def test_who_was_suspended_before_an_erasure_stays_so_when_it_is_called_off(client_of: ClientOf) -> None:
    sub = user(client_of("alice")).pk
    suspending.suspend(sub, actor=OLGA)
    erasing.ask(sub, actor=OLGA)
    erasing.call_off(sub, actor=OLGA)
    assert not User.objects.get(pk=sub).is_active
    assert suspending.restore(sub, actor=OLGA)
    with pytest.raises(NotFound):
        erasing.call_off(sub, actor=OLGA)


def test_asking_again_while_an_erasure_runs_leaves_it_alone(client_of: ClientOf) -> None:
    sub = user(client_of("alice")).pk
    erasing.ask(sub, actor=OLGA)
    job = begun_erasure(sub)
    before = Erasure.objects.get()
    erasing.ask(sub, actor=Caller(user_id="local:otto", is_operator=True))
    after = Erasure.objects.get()
    assert (after.begun_at, after.steps, after.asked_by) == (before.begun_at, before.steps, "local:olga")
    erasing.run(job)
    assert Erasure.objects.get().finished_at is not None
    assert not User.objects.filter(pk=sub).exists()


def test_whoever_restores_a_person_waits_for_whoever_asks_to_erase_them_and_is_refused(client_of: ClientOf) -> None:
    sub = user(client_of("alice")).pk
    suspending.suspend(sub, actor=OLGA)
    is_asked = threading.Event()

    def ask() -> None:
        with transaction.atomic():
            erasing.ask(sub, actor=OLGA)
            is_asked.set()
            time.sleep(0.2)  # time for the other one to look, and to find nothing yet

    def restore() -> str:
        is_asked.wait()
        try:
            suspending.restore(sub, actor=OLGA)
        except Conflict as refusal:
            return str(refusal.detail)
        return "restored"

    assert at_once(ask, restore)[1] == "This person is being erased."
    assert not User.objects.get(pk=sub).is_active


def test_the_command_ends_an_erasure_that_was_asked_for_and_its_job_erases_nobody_else(client_of: ClientOf) -> None:
    alice = client_of("alice")
    sub = user(alice).pk
    erasing.ask(sub, actor=OLGA)
    call_command("erase_user", sub, "--yes", stdout=StringIO())
    assert Erasure.objects.get().finished_at is not None
    with pytest.raises(NotFound):
        erasing.call_off(sub, actor=OLGA)
    assert user(alice).pk == sub  # who signs in again is a new person
    run_erasure()
    assert User.objects.filter(pk=sub).exists()
    assert not Job.objects.filter(kind=erasing.KIND).exists()


def test_an_erasure_one_of_whose_parts_finds_nothing_is_not_over(
    client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(user_id: str, *, actor: Any) -> Iterator[str]:
        raise NotFound("There is no such bot.")
        yield ""

    sub = user(client_of("alice")).pk
    erasing.ask(sub, actor=OLGA)
    monkeypatch.setitem(identity_erasing._parts, "broken", identity_erasing.Part(fail, fail))
    [job] = queue.claim("worker", 1)
    with pytest.raises(NotFound):
        erasing.run(job)
    assert Erasure.objects.get().finished_at is None
    assert Job.objects.filter(kind=erasing.KIND).exists()


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
