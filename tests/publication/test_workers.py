"""Published turns under workers that are killed and stopped: each question has one answer, in order, and is paid for.

`SOAK=1`, as `make soak` sets it, runs 200 turns of 40 conversations.
"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import new_database
from tests.emulator import Emulator
from tests.encryption.vault import new_key
from tests.jobs.brokers import Broker, needs_redis
from tests.jobs.conftest import Workshop
from tests.live import LiveServer
from tests.publication.seed import PUBLISH, SYNCS

pytestmark = pytest.mark.both

TURNS, CONVERSATIONS, ROUNDS = (200, 40, 4) if os.environ.get("SOAK") else (24, 6, 1)
CONCURRENCY = 8
LEASE = 2
KEY = new_key()

READ = """
from conversations.models import Conversation, Message
turns = {}
for conversation in Conversation.objects.all():
    rows = Message.objects.filter(conversation=conversation).order_by("pk")
    turns[conversation.external_id] = [
        (row.pk, row.parent_id, row.role, row.content[0]["body"], row.lease_expires_at is None) for row in rows
    ]
print(json.dumps(turns))
"""


@pytest.fixture
def workshop(tmp_path: Path, emulator_process: Emulator) -> Iterator[Workshop]:
    """With a database of the test's own: what another one has left would be counted."""
    emulator_process.reset()
    secrets = {"ENCRYPTION_KEYS": KEY, "SECRET_KEY": "x" * 60}
    with new_database(tmp_path) as url:
        LiveServer(tmp_path, emulator_process.url, DATABASE_URL=url, **secrets)._migrate()
        shop = Workshop(url, tmp_path)
        shop.environment |= {
            **secrets,
            "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator_process.url,
            "TURN_LEASE_SECONDS": str(LEASE),
        }
        yield shop
        shop.end()


@pytest.fixture(params=["rows", pytest.param("celery", marks=[pytest.mark.slow, needs_redis])])
def broker(request: pytest.FixtureRequest, workshop: Workshop, tmp_path: Path) -> Iterator[Broker | None]:
    """What tells workers of jobs, if not the rows alone."""
    if request.param == "rows":
        yield None
        return
    broker = Broker(tmp_path)
    broker.start()
    workshop.celery = True
    workshop.environment["CELERY_BROKER_URL"] = broker.url
    yield broker
    broker.kill()


def done(workshop: Workshop) -> int:
    return int(workshop.sql("SELECT count(*) FROM publication_turnrequest WHERE done_at IS NOT NULL")[0][0])


def test_killed_and_stopped_workers_lose_and_double_nothing(
    workshop: Workshop, broker: Broker | None, emulator_process: Emulator
) -> None:
    workshop.run(
        PUBLISH + f"for n in range({TURNS}):\n    ask(f'{{n}}. [[wait:0.2]] [[throttle:1]]' if n % 10 == 9 else"
        f" f'{{n}}. [[wait:0.2]]', f'c{{n % {CONVERSATIONS}}}')"
    )
    killed = 0
    for number in range(ROUNDS):
        doomed, sleepy = (workshop.work("--concurrency", str(CONCURRENCY)) for _ in range(2))
        goal = TURNS * (number + 1) // (ROUNDS + 2)
        workshop.until(lambda goal=goal: done(workshop) >= goal)
        doomed.kill()
        workshop.stop(sleepy)
        if broker is not None:  # it has forgotten everything when it comes back
            broker.kill()
            broker.start()
        killed += 2
        time.sleep(LEASE + 0.5)
        if number + 1 < ROUNDS:
            sleepy.send_signal(signal.SIGCONT)
    workshop.work("--concurrency", str(CONCURRENCY))
    time.sleep(1)
    for worker in workshop.workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGCONT)
    workshop.until(lambda: done(workshop) == TURNS, seconds=120)
    time.sleep(1)  # late writes of the stopped worker are refused
    _must_be_whole(json.loads(workshop.run(PUBLISH + READ)))
    assert workshop.sql("SELECT count(*) FROM publication_turnrequest WHERE reason <> ''") == [(0,)]
    assert workshop.sql("SELECT count(*) FROM bedrock_chat_job WHERE kind = 'published turn'") == [(0,)]
    paid = Counter(_question(call["body"]) for call in emulator_process.requests() if call["status"] == 200)
    ledger = workshop.sql("SELECT message_external_id, fault, estimated FROM conversations_modelcall")
    texts = dict(workshop.sql("SELECT external_id, content FROM conversations_message"))
    rows = Counter(_number(texts[message]) for message, fault, _ in ledger if fault in ("", "ProcessLost"))
    assert not paid - rows, "these calls were paid, and the ledger does not know it"
    assert (rows - paid).total() <= killed * CONCURRENCY
    assert Counter(fault for _, fault, _ in ledger)[""] >= TURNS


def _must_be_whole(conversations: dict[str, list[Any]]) -> None:
    """In each conversation the questions are one below another, as they were asked, each with its one answer."""
    assert len(conversations) == CONVERSATIONS
    for name, messages in conversations.items():
        expected = [n for n in range(TURNS) if n % CONVERSATIONS == int(name[1:])]
        parent, nodes = None, []
        by_parent: dict[Any, list[Any]] = {}
        for message in messages:
            by_parent.setdefault(message[1], []).append(message)
        while parent in by_parent:
            [(parent, _, role, text, is_free)] = by_parent[parent]
            assert is_free
            nodes.append((role, _number(text)))
        assert nodes == [(role, number) for number in expected for role in ("user", "assistant")], name
        assert len(messages) == len(nodes)


def _number(text: Any) -> int:
    """The number in `7. …`, `Echo: 7. …`, or the stored content of either."""
    shown = text if isinstance(text, str) else json.dumps(text)
    digits = [part.split()[-1].lstrip('"') for part in shown.split(".") if part.split()]
    return int(next(part for part in digits if part.isdigit()))


def _question(sent: Any) -> int:
    return _number(next(block["text"] for block in sent["messages"][-1]["content"] if "text" in block))


def test_the_next_turn_of_a_conversation_follows_at_once_and_none_is_polled(
    workshop: Workshop, emulator_process: Emulator
) -> None:
    workshop.run(PUBLISH + "for n in range(30): ask(f'{n}. quick', 'queue')")
    jobs = "SELECT count(*), max(attempt) FROM bedrock_chat_job WHERE kind = 'published turn'"
    assert workshop.sql(jobs) == [(1, 0)], "of a conversation's turns, only the first has a job"
    before = done(workshop)
    workshop.work("--concurrency", "4")
    workshop.until(lambda: done(workshop) == before + 30)
    assert workshop.sql(jobs) == [(0, None)]


@pytest.mark.slow
def test_a_published_turn_does_not_wait_for_twenty_syncs(workshop: Workshop, emulator_process: Emulator) -> None:
    emulator_process.embeddings(wait=1)  # seconds of each call: no sync comes to its end here
    workshop.run(PUBLISH + SYNCS + "published()\nask_for_syncs(20)")
    syncs = "SELECT count(*) FROM bedrock_chat_job WHERE kind = 'sync knowledge'"
    worker = workshop.work("--concurrency", str(CONCURRENCY))
    workshop.until(lambda: workshop.sql(f"{syncs} AND state = 'running'") == [(CONCURRENCY // 4,)])
    workshop.run(PUBLISH + "ask('1. quick', 'c')")
    workshop.until(lambda: done(workshop) == 1)
    assert workshop.sql(syncs) == [(20,)]
    worker.kill()
