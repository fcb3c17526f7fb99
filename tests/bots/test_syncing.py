"""How far a bot's knowledge and guardrail are: what an answer says at once, and what the job makes of it."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bots import guardrails, syncing
from bots.knowledge import revisions
from tests.bots.bot import KNOWLEDGE, edit, make, read, share, star
from tests.bots.guarding import plan
from tests.bots.test_parts import BASE, GUARDRAILS
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

EXISTING = {"bedrockKnowledgeBase": {**BASE, "existKnowledgeBaseId": "KB1"}}
SOURCES = {"knowledge": {**KNOWLEDGE, "sourceUrls": ["https://example.com/"]}}
GUARDED = {"bedrockGuardrails": {**GUARDRAILS, "hateThreshold": 2}}
WITH_ARN = {"bedrockGuardrails": {**GUARDRAILS, "guardrailArn": "arn:aws:bedrock:us-east-1:123456789012:guardrail/g"}}
ALL_ZERO = {"bedrockGuardrails": GUARDRAILS}
DISABLED = {"bedrockGuardrails": {**GUARDRAILS, "isGuardrailEnabled": False, "hateThreshold": 2}}


@pytest.fixture(autouse=True)
def _slow_guardrails(emulator: Emulator) -> None:
    plan(emulator, seconds=60)


def run(*, after: Any = None) -> int:
    """Runs the jobs that are due; returns how many. `after` is called between the claim and the job."""
    jobs = queue.claim("worker", 10, kind=syncing.KIND)
    if after is not None:
        after()
    for job in jobs:
        assert job.kind == syncing.KIND
        syncing.sync(job)
    return len(jobs)


def status(client: APIClient) -> tuple[str, str]:
    bot = read(client, "b")
    return bot["syncStatus"], bot["syncStatusReason"]


@pytest.mark.parametrize(
    ("fields", "reached"),
    [
        (EXISTING, ("SUCCEEDED", "")),
        (WITH_ARN, ("SUCCEEDED", "")),
        (EXISTING | WITH_ARN, ("SUCCEEDED", "")),
        (SOURCES | EXISTING, ("SUCCEEDED", "")),
        (SOURCES | WITH_ARN, ("QUEUED", "")),
        (GUARDED, ("QUEUED", guardrails.BEING_MADE)),
        (GUARDED | EXISTING, ("QUEUED", guardrails.BEING_MADE)),
    ],
)
def test_what_is_given_is_queued_until_the_job_has_looked(
    alice: APIClient, fields: dict[str, Any], reached: tuple[str, str]
) -> None:
    made = make(alice, "b", **fields)
    assert (made["syncStatus"], made["syncStatusReason"]) == ("QUEUED", "")
    assert run() == 1
    assert status(alice) == reached
    assert Job.objects.filter(kind=syncing.KIND).exists() is (reached[1] == guardrails.BEING_MADE)


def test_a_bot_without_knowledge_or_guardrail_needs_no_job(alice: APIClient) -> None:
    for number, fields in enumerate(({}, ALL_ZERO, DISABLED, {"knowledge": KNOWLEDGE})):
        assert make(alice, f"b{number}", **fields)["syncStatus"] == "SUCCEEDED"
    assert not Job.objects.filter(kind=syncing.KIND).exists()


def test_what_is_to_be_read_is_queued_for_a_job_of_its_own(alice: APIClient) -> None:
    assert make(alice, "b", **SOURCES)["syncStatus"] == "QUEUED"
    assert run() == 0
    assert [job.kind for job in queue.claim("worker", 10, kind=revisions.KIND)] == [revisions.KIND]
    edit(alice, "b", **GUARDED)
    assert run() == 1
    assert status(alice) == ("QUEUED", guardrails.BEING_MADE)


def test_only_a_change_of_what_is_synced_asks_for_a_job(alice: APIClient) -> None:
    make(alice, "b", **EXISTING)
    run()
    edit(alice, "b", title="Another", **EXISTING)
    share(alice, "b", "all")
    star(alice, "b")
    assert run() == 0
    assert status(alice) == ("SUCCEEDED", "")
    edit(alice, "b", **GUARDED)
    assert status(alice) == ("QUEUED", "")
    assert run() == 1
    edit(alice, "b", **ALL_ZERO)
    assert run() == 1
    assert status(alice) == ("SUCCEEDED", "")


def test_a_restored_version_is_synced_again(alice: APIClient) -> None:
    make(alice, "b", **EXISTING)
    run()
    edit(alice, "b", **GUARDED)
    run()
    assert alice.post("/bot/b/versions/1/restore").status_code == 200
    assert status(alice) == ("QUEUED", "")
    assert run() == 1
    assert status(alice) == ("SUCCEEDED", "")


def test_the_job_of_an_earlier_edit_tells_what_is_true_by_now(alice: APIClient) -> None:
    make(alice, "b", **EXISTING)
    assert run(after=lambda: edit(alice, "b", **SOURCES)) == 1
    assert status(alice) == ("SUCCEEDED", "")
    assert run() == 0


def test_a_change_of_the_title_meanwhile_does_not_lose_the_job(alice: APIClient) -> None:
    make(alice, "b", **EXISTING)
    edit(alice, "b", title="Another")
    while run():
        pass
    assert status(alice) == ("SUCCEEDED", "")


def test_the_job_of_a_deleted_bot_does_nothing(alice: APIClient) -> None:
    make(alice, "b", **EXISTING)
    assert run(after=lambda: alice.delete("/bot/b")) == 1
    assert not Job.objects.filter(kind=syncing.KIND).exists()
