"""What the database tells at a scrape, and what it costs."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import backlog, queue
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.metrics import figures
from bedrock_chat.metrics.figures import Figures, Read
from conversations.models import Conversation, Message, Role
from conversations.turn import measuring as turns
from publication import measuring as published
from publication.models import TurnRequest
from tests import build

pytestmark = [pytest.mark.both, pytest.mark.django_db]


def statements(read: Read) -> int:
    """Of a reader, without PostgreSQL's clock."""
    with CaptureQueriesContext(connection) as captured:
        read()
    return sum("clock_timestamp" not in query["sql"].split("FROM")[0] for query in captured.captured_queries)


def value(read: Figures, figure: Any, *labels: str) -> float:
    return read[figure][labels]


def job(kind: str, due_at: datetime, **fields: Any) -> Job:
    return Job.objects.create(kind=kind, due_at=due_at, created_at=due_at, **fields)


def test_jobs_are_told_by_kind_and_state() -> None:
    now, minute = database_now(), timedelta(minutes=1)
    job("sync bot", now - minute)
    job("sync bot", now - 3 * minute)
    job("sync bot", now + minute)
    job("rank bots", now + minute, state=State.RUNNING, worker="w", attempt=1)
    job("rank bots", now - minute, state=State.RUNNING, worker="w", attempt=1)  # its worker is lost
    job("rank bots", now - minute, state=State.DEAD, reason="It failed.")
    job("of another version", now - minute)
    Worker.objects.create(id="w", host="h", process=1, concurrency=8, started_at=now, seen_at=now)
    Worker.objects.create(id="v", host="h", process=2, concurrency=8, started_at=now, seen_at=now - minute)
    read = backlog.figures()
    assert value(read, backlog.WAITING, "sync bot") == 2
    assert 180 <= value(read, backlog.OLDEST, "sync bot") < 190
    assert value(read, backlog.SCHEDULED, "sync bot") == 1
    assert value(read, backlog.RUNNING, "rank bots") == 1
    assert value(read, backlog.WAITING, "rank bots") == 1
    assert value(read, backlog.DEAD, "rank bots") == 1
    assert value(read, backlog.WAITING, "other") == 1
    assert value(read, backlog.WAITING, "compact search") == value(read, backlog.OLDEST, "compact search") == 0
    assert value(read, backlog.WORKERS) == 1
    seen = backlog.look()
    assert (seen.workers, seen.waiting) == (1, 4)
    assert 180 <= seen.oldest_seconds < 190


def test_running_turns_are_those_whose_lease_lives() -> None:
    alice = User.objects.create(id="a", username="alice")
    conversations = [build.long_conversation(alice, 2, f"c{number}") for number in range(3)]
    now = database_now()
    for conversation, seconds in zip(conversations, (10, 10, -10), strict=True):
        question = Message.objects.filter(conversation=conversation, role=Role.USER).latest("pk")
        lease = {"lease_holder": "p", "lease_expires_at": now + timedelta(seconds=seconds)}
        Message.objects.filter(pk=question.pk).update(**lease)
    assert turns.figures() == {turns.RUNNING: {(): 2.0}}
    if connection.vendor == "sqlite":
        latest = Conversation.objects.to_be_indexed().order_by("-updated_at").values_list("pk")[: turns.LATEST]
        assert "conversations_to_be_indexed" in latest.explain()


def test_accepted_questions_are_told_until_their_turn_is_over() -> None:
    now = database_now()
    for number, done_at in enumerate((None, None, now)):
        TurnRequest.objects.create(
            message_id=f"m{number}",
            publication_id="p",
            key_id="k",
            conversation_id="c",
            model="m",
            accepted_at=now - timedelta(seconds=10 * (number + 1)),
            done_at=done_at,
        )
    read = published.figures()
    assert read[published.UNDONE] == {(): 2.0}
    assert 20 <= read[published.OLDEST][()] < 30


@pytest.mark.parametrize(
    ("read", "budget"),
    [(backlog.figures, 2), (backlog.look, 2), (turns.figures, 2), (published.figures, 1)],
    ids=["jobs", "ready", "turns", "published turns"],
)
def test_every_reader_keeps_its_budget(read: Read, budget: int) -> None:
    queue.follow_schedule()
    build.long_conversation(User.objects.create(id="a", username="alice"), 2, "c1")
    assert statements(read) == budget


@pytest.mark.django_db(transaction=True)
def test_where_one_reader_fails_the_others_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Figures:
        raise LookupError

    monkeypatch.setitem(figures._readers, "turns", broken)
    read = figures.read()
    assert read[figures.DATABASE_UP] == {(): 1.0}
    assert turns.RUNNING not in read
    assert published.UNDONE in read
