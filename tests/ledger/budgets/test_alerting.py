"""Operators are told once a period that a soft budget is used up."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core import mail
from django.utils import timezone

from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.budgets import alerting
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Period, Unit
from tests.ledger.budgets.spending import budget, reserve, spend

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ALICE = (PayerKind.USER, "alice")


@pytest.fixture(autouse=True)
def _addresses(settings: LazySettings) -> None:
    settings.BUDGET_ALERT_EMAILS = ["olga@example.com", "oscar@example.com"]
    settings.BUDGET_ALERT_URL, settings.BUDGET_ALERT_SECRET = "http://127.0.0.1:9", b"k" * 32


def channels_that_wait() -> list[str]:
    return sorted(job.payload["channel"] for job in Job.objects.filter(kind=alerting.KIND))


def test_a_soft_budget_that_is_used_up_is_told_once_a_period_by_each_channel() -> None:
    budget("alice", "20", is_hard=False, period=Period.DAY)
    reserved = reserve([ALICE], 1000)
    assert channels_that_wait() == []  # what is reserved does not count
    spend([ALICE], reserved, 19)
    assert channels_that_wait() == []
    spend([ALICE], reserve([ALICE]), 1)
    assert channels_that_wait() == ["e-mail", "webhook"]
    Job.objects.all().delete()
    spend([ALICE], reserve([ALICE]), 50)
    assert channels_that_wait() == []
    tomorrow = timezone.now() + timedelta(days=1)
    spend([ALICE], reserve([ALICE], now=tomorrow), 20, created_at=tomorrow)
    assert channels_that_wait() == ["e-mail", "webhook"]


def test_a_hard_budget_and_one_without_addresses_tell_nobody(settings: LazySettings) -> None:
    budget("alice", "1")
    spend([ALICE], reserve([ALICE]), 5)
    settings.BUDGET_ALERT_EMAILS, settings.BUDGET_ALERT_URL = [], ""
    budget("bob", "1", is_hard=False)
    spend([(PayerKind.USER, "bob")], None, 5)
    assert channels_that_wait() == []


@pytest.mark.django_db(transaction=True)
def test_one_channel_that_fails_is_tried_again_alone() -> None:
    budget("staff\nmembers", "0.5", kind=PayerKind.GROUP, unit=Unit.USD, is_hard=False)
    spend([(PayerKind.GROUP, "staff\nmembers")], None, 1, "0.75")
    for job in queue.claim("worker", 10):
        if job.kind != alerting.KIND:
            continue
        try:
            alerting.send(job)
        except Exception as error:
            queue.fail(job, str(error))
    [failed] = Job.objects.filter(kind=alerting.KIND)
    assert (failed.payload["channel"], failed.reason) == (
        "webhook",
        "The webhook was not delivered: The server cannot be reached.",
    )
    [message] = mail.outbox
    assert message.to == ["olga@example.com", "oscar@example.com"]
    assert message.subject == "The budget of group staff members is used up: 0.50 USD a month"
    assert "0.75 USD were used" in message.body
    assert BudgetCounter.objects.get().alerted_at is not None
