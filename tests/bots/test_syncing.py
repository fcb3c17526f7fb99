"""How far a bot's knowledge and guardrail are, before and after the job."""

import pytest
from rest_framework.test import APIClient

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bots import syncing
from tests.bots.bot import edit, make, read
from tests.bots.test_chatting import BASE, UNGUARDED

pytestmark = [pytest.mark.django_db, pytest.mark.both]


def sync(limit: int = 10) -> int:
    """Does the jobs that wait. Returns how many."""
    claimed = queue.claim("worker", limit)
    for job in claimed:
        syncing.sync(job)
    return len(claimed)


def status(client: APIClient, bot_id: str) -> tuple[str, str]:
    bot = read(client, bot_id)
    return bot["syncStatus"], bot["syncStatusReason"]


def test_a_plain_bot_asks_for_no_job(alice: APIClient) -> None:
    make(alice, "b")
    edit(alice, "b", title="Another")
    assert status(alice, "b") == ("SUCCEEDED", "")
    assert not Job.objects.exists()


def test_an_existing_knowledge_base_and_a_guardrail_of_an_arn_are_ready_with_the_job(alice: APIClient) -> None:
    make(alice, "b", bedrockKnowledgeBase=BASE, bedrockGuardrails={**UNGUARDED, "guardrailArn": "arn:aws:x"})
    assert status(alice, "b") == ("QUEUED", "")
    assert sync() == 1
    assert status(alice, "b") == ("SUCCEEDED", "")
    assert not Job.objects.exists()


def test_an_edit_of_something_else_before_the_job_does_not_leave_the_bot_queued(alice: APIClient) -> None:
    make(alice, "b", bedrockKnowledgeBase=BASE)
    edit(alice, "b", title="Another")
    assert status(alice, "b") == ("QUEUED", "")
    assert sync() == 1
    assert status(alice, "b") == ("SUCCEEDED", "")


def test_the_job_of_an_earlier_edit_tells_what_is_true_by_now(alice: APIClient) -> None:
    make(alice, "b", bedrockKnowledgeBase=BASE)
    addresses = {"sourceUrls": ["https://example.com/"], "sitemapUrls": [], "s3Urls": []}
    files = {"addedFilenames": [], "deletedFilenames": [], "unchangedFilenames": []}
    edit(alice, "b", knowledge={**addresses, **files})
    assert sync(1) == 1
    assert status(alice, "b") == ("QUEUED", "Not ingested yet.")
    assert sync() == 1
    assert status(alice, "b") == ("QUEUED", "Not ingested yet.")


def test_the_job_of_a_bot_that_is_gone_does_nothing(alice: APIClient) -> None:
    make(alice, "b", bedrockKnowledgeBase=BASE)
    assert alice.delete("/bot/b").status_code == 200
    assert sync() == 1
    assert not Job.objects.exists()
