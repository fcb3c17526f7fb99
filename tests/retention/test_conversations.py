"""Old conversations go, in bounded transactions; what is in use, or younger, stays."""

import os
import signal
import time
from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.db import connection, connections
from django.db.models import F
from django.utils import timezone

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.blobs import removal, storing
from bedrock_chat.blobs.models import Blob, BlobReference
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.performing import perform
from bedrock_chat.retention import policies, pruning
from bots.holds import remove_retention, set_retention
from bots.models import TakenBotId
from conversations import retention
from conversations.models import BLOB_OWNER, Conversation, Message
from publication.models import PublicationOwner, TurnRequest
from tests import build
from tests.retention.keeping import OPERATOR, conversation, left, person, prune, prune_older_than
from tests.together import wait_for

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
LEASE = timedelta(seconds=60)


def test_conversations_go_when_their_last_change_is_too_old() -> None:
    alice = person("alice")
    conversation(alice, "old", 91, exchanges=2)
    conversation(alice, "young", 89)
    conversation(alice, "old, and changed since", 300)
    Conversation.objects.filter(external_id="old, and changed since").update(updated_at=timezone.now())
    assert prune_older_than(90) == {"conversations": 1, "messages": 4}
    assert left() == ["old, and changed since", "young"]
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target_id, entry.actor_id, entry.values) == (
        "prune",
        "conversations",
        "prune",
        {"days": 90},
    )
    assert prune_older_than(90) == {}
    assert AuditEntry.objects.count() == 1, "what deletes nothing is not recorded"


def test_the_job_follows_the_policies(settings: LazySettings) -> None:
    alice = person("alice")
    TakenBotId.objects.bulk_create([TakenBotId(id="brief"), TakenBotId(id="archive")])
    for bot_id in ("brief", "archive", None):
        for days in (10, 100, 1000):
            conversation(alice, f"{bot_id} {days}", days, bot_id=bot_id)

    def work() -> None:
        queue.enqueue("prune")
        [job] = queue.claim("worker", 1)
        perform(job)
        assert not Job.objects.exists()

    work()
    assert len(left()) == 9, "without a policy everything is kept"
    settings.RETENTION_DAYS = 90
    set_retention("brief", 7, actor=OPERATOR)
    set_retention("archive", None, actor=OPERATOR)
    work()
    assert left() == ["None 10", "archive 10", "archive 100", "archive 1000"]
    set_retention("archive", 500, actor=OPERATOR)
    work()
    assert left() == ["None 10", "archive 10", "archive 100"]
    remove_retention("archive", actor=OPERATOR)
    work()
    assert left() == ["None 10", "archive 10"]


def test_a_bots_own_policy_goes_before_a_general_order_and_not_before_one_for_it() -> None:
    alice = person("alice")
    TakenBotId.objects.create(id="archive")
    set_retention("archive", None, actor=OPERATOR)
    conversation(alice, "with it", 100, bot_id="archive")
    conversation(alice, "without", 100)
    assert prune_older_than(30) == {"conversations": 1, "messages": 2}
    assert left() == ["with it"]
    conversation(alice, "without", 100)
    assert prune_older_than(30, "archive") == {"conversations": 1, "messages": 2}
    assert left() == ["without"]


def test_a_policy_that_is_set_while_others_are_pruned_counts_from_then_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_A_TIME", 1)
    alice = person("alice")
    TakenBotId.objects.create(id="archive")
    conversation(alice, "first", 100)
    conversation(alice, "second", 100, bot_id="archive")
    steps = pruning.prune(policies.once(90), actor=OPERATOR)
    assert next(steps)["conversations"] == 1
    set_retention("archive", None, actor=OPERATOR)
    assert not any(some.get("conversations") for some in steps)
    assert left() == ["second"]


def test_the_audit_names_the_policy_by_which_something_went(settings: LazySettings) -> None:
    settings.RETENTION_DAYS = 90
    alice = person("alice")
    TakenBotId.objects.create(id="brief")
    set_retention("brief", 7, actor=OPERATOR)

    def days_of(plan: policies.Plan) -> list[object]:
        for bot_id in (None, "brief", "other"):
            conversation(alice, str(bot_id), 100, bot_id=bot_id)
        before = AuditEntry.objects.count()
        prune(plan)
        Conversation.objects.all().delete()
        return list(AuditEntry.objects.order_by("pk").values_list("values", flat=True)[before:])

    assert days_of(policies.standing()) == [{"days": 90}, {"days": 7, "bot": ["brief"]}]
    assert days_of(policies.of_bot("other")) == [{"days": 90, "bot": ["other"]}]
    assert days_of(policies.once(30, bot_id="brief")) == [{"days": 30, "bot": ["brief"]}]


def test_a_conversation_in_which_a_turn_runs_stays() -> None:
    alice = person("alice")
    running = conversation(alice, "running", 100)
    build.question(running, "still thinking", lease=LEASE)
    lost = conversation(alice, "its process was killed", 100)
    build.question(lost, "nobody answers", lease=-LEASE)
    prune_older_than(90)
    assert left() == ["running"]


def test_a_conversation_that_is_used_while_others_are_pruned_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "AT_A_TIME", 1)
    alice = person("alice")
    first, second = (conversation(alice, name, 100) for name in ("first", "second"))
    steps = pruning.prune(policies.once(90), actor=OPERATOR)
    assert next(steps)["conversations"] == 1
    assert not Conversation.objects.filter(pk=first.pk).exists()
    Conversation.objects.filter(pk=second.pk).update(updated_at=timezone.now())  # as a turn that opens
    assert not any(some.get("conversations") for some in steps)
    assert left() == ["second"]


def published(external_id: str, days: float, *, is_done: bool) -> None:
    at = timezone.now() - timedelta(days=days)
    columns = {"publication_id": "p", "model": build.MODEL, "created_at": at, "updated_at": at, "bot_id": "helper"}
    row = Conversation.objects.create(external_id=external_id, **columns)
    build.exchange(row, "of an API")
    TurnRequest.objects.create(
        message_id=f"q of {external_id}",
        publication_id="p",
        key_id="k",
        conversation_id=external_id,
        model=build.MODEL,
        accepted_at=at,
        done_at=at if is_done else None,
    )


def test_conversations_of_apis_go_with_their_questions_and_not_while_one_waits() -> None:
    PublicationOwner.objects.create(publication_id="p", user_id="dave", bot_id="helper")
    published("answered", 100, is_done=True)
    published("waits", 100, is_done=False)
    published("young", 10, is_done=True)
    published("openai/stored", 100, is_done=True)
    published("failed before it began", 100, is_done=True)
    Conversation.objects.filter(external_id="failed before it began").delete()
    assert prune_older_than(90) == {"conversations": 2, "messages": 4, "questions": 3}
    assert left() == ["waits", "young"]
    assert sorted(TurnRequest.objects.values_list("conversation_id", flat=True)) == ["waits", "young"]
    assert prune_older_than(5, "helper") == {"conversations": 1, "messages": 2, "questions": 1}


def test_files_follow_unless_somebody_else_has_them(settings: LazySettings) -> None:
    alice = person("alice")
    old, other_old, young = (conversation(alice, name, days) for name, days in (("a", 100), ("b", 100), ("young", 1)))
    shas = {name: storing.digest(name.encode()) for name in ("alone", "of both", "shared")}
    storing.store({shas[name]: name.encode() for name in shas})
    storing.refer(BLOB_OWNER, old.pk, shas.values())
    storing.refer(BLOB_OWNER, other_old.pk, [shas["of both"]])
    storing.refer(BLOB_OWNER, young.pk, [shas["shared"]])
    assert prune_older_than(90)["files"] == 2
    assert list(BlobReference.objects.values_list("blob_id", "owner_id")) == [(shas["shared"], young.pk)]
    settings.BLOB_GRACE_SECONDS = 0
    queue.enqueue("remove blobs")
    [job] = queue.claim("worker", 1)
    removal.remove_unreferenced(job)
    assert list(Blob.objects.values_list("pk", flat=True)) == [shas["shared"]]
    assert build.body_of(shas["shared"]) == b"shared"


def test_a_transaction_deletes_a_bounded_number_and_the_next_run_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "ROWS_AT_A_TIME", 5)
    monkeypatch.setattr(retention, "AT_A_TIME", 3)
    monkeypatch.setattr(retention, "MESSAGES_AT_A_TIME", 8)
    alice = person("alice")
    for number in range(12):
        conversation(alice, f"c{number:02}", 100, exchanges=6 if number == 4 else 1)
    steps = pruning.prune(policies.once(90), actor=OPERATOR)
    sizes = [some for _, some in zip(range(3), steps, strict=False)]
    steps.close()
    assert [(some["conversations"], some["messages"]) for some in sizes] == [(3, 6), (1, 2), (1, 12)]
    assert len(left()) == 7
    assert prune_older_than(90) == {"conversations": 7, "messages": 14}


def test_a_run_that_is_killed_leaves_whole_conversations_and_the_next_one_goes_on() -> None:
    alice = person("alice")
    sha = storing.digest(b"file")
    storing.store({sha: b"file"})
    for number in range(60):
        row = conversation(alice, f"c{number}", 100)
        storing.refer(BLOB_OWNER, row.pk, [sha])
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()
    child = os.fork()
    if child == 0:
        try:
            retention.AT_A_TIME = 1
            for _ in pruning.prune(policies.once(90), actor=OPERATOR):
                time.sleep(0.001)
        finally:
            os._exit(1)
    wait_for(lambda: Conversation.objects.count() < 50)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    rest = Conversation.objects.count()
    assert 0 < rest < 50
    assert Message.objects.count() == 2 * rest
    assert BlobReference.objects.count() == rest
    assert prune_older_than(90) == {"conversations": rest, "messages": 2 * rest, "files": 1}
    assert AuditEntry.objects.count() == 2


def test_what_may_be_too_old_is_found_by_keys() -> None:
    alice = person("alice")
    at = timezone.now() - timedelta(days=100)
    columns = {"user": alice, "model": build.MODEL, "created_at": at, "updated_at": at}
    rows = [
        Conversation(external_id=str(number), bot_id="b" if number % 500 == 0 else None, **columns)
        for number in range(6_000)
    ]
    Conversation.objects.bulk_create(rows, batch_size=2_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
        window = Conversation.objects.filter(pk__gt=rows[3_000].pk).order_by("pk")
        for query, index in (
            (window, {"sqlite": "INTEGER PRIMARY KEY", "postgresql": "conversations_conversation_pkey"}),
            (window.filter(bot_id="b"), dict.fromkeys(("sqlite", "postgresql"), "conversations_of_a_bot")),
        ):
            sql, parameters = query.values_list(*retention.COLUMNS)[: retention.ROWS_AT_A_TIME].query.sql_with_params()
            explain = "EXPLAIN" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
            cursor.execute(f"{explain} {sql}", parameters)
            plan = " ".join(str(row) for row in cursor.fetchall())
            assert index[connection.vendor] in plan, plan
            assert "Seq Scan" not in plan, plan
    newest = Conversation.objects.order_by("-pk")[:5_500]
    Conversation.objects.filter(pk__in=list(newest.values_list("pk", flat=True))).update(
        created_at=timezone.now(), updated_at=F("updated_at")
    )
    looked_at = sum(len(rows) for rows in retention.windows(policies.once(90)))
    assert looked_at == retention.ROWS_AT_A_TIME, "it ends where conversations are younger"
