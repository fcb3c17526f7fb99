"""Operators are told once a period that a soft budget is used up."""

from datetime import timedelta

import pytest
from django.conf import LazySettings
from django.core import mail
from django.utils import timezone

from bedrock_chat.alerts import sending
from bedrock_chat.alerts.models import OpenAlert, Severity
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.budgets import alerting
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Period, Unit
from tests.ledger.budgets.spending import budget, reserve, spend

pytestmark = [pytest.mark.django_db, pytest.mark.both]

ALICE = (PayerKind.USER, "alice")


@pytest.fixture(autouse=True)
def _addresses(settings: LazySettings) -> None:
    settings.ALERT_EMAILS = ["olga@example.com", "oscar@example.com"]
    settings.ALERT_URL, settings.ALERT_SECRET = "http://127.0.0.1:9", b"k" * 32


def channels_that_wait() -> list[str]:
    return sorted(job.payload["channel"] for job in Job.objects.filter(kind=sending.KIND))


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
    settings.ALERT_EMAILS, settings.ALERT_URL = [], ""
    budget("bob", "1", is_hard=False)
    spend([(PayerKind.USER, "bob")], None, 5)
    assert channels_that_wait() == []


def test_the_console_tells_of_those_that_are_used_up_or_nearly_the_soft_ones_first() -> None:
    for name, used, is_hard in (("alice", 50, True), ("bob", 18, False), ("carol", 20, False), ("dave", 17, False)):
        payer = [(PayerKind.USER, name)]
        budget(name, "20", is_hard=is_hard)
        spend(payer, None, used)
    shown = [(problem.facts["id"], problem.severity) for problem in alerting.problems()]
    assert shown == [("carol", Severity.WARNING), ("bob", Severity.NOTICE), ("alice", Severity.NOTICE)]


def test_the_largest_budgets_are_told_of_as_well() -> None:
    for name, used in (("alice", "90000000"), ("bob", "95000000"), ("carol", "89999999.9999999999")):
        budget(name, "100000000", unit=Unit.USD)
        spend([(PayerKind.USER, name)], None, 1, used)
    assert [problem.facts["id"] for problem in alerting.problems()] == ["bob", "alice"]


@pytest.mark.django_db(transaction=True)
def test_one_channel_that_fails_is_tried_again_alone() -> None:
    budget("staff\nmembers", "0.5", kind=PayerKind.GROUP, unit=Unit.USD, is_hard=False)
    spend([(PayerKind.GROUP, "staff\nmembers")], None, 1, "0.75")
    for job in queue.claim("worker", 10):
        if job.kind == sending.KIND:
            performing.perform(job)
    [failed] = Job.objects.filter(kind=sending.KIND)
    assert (failed.payload["channel"], failed.reason) == (
        "webhook",
        "NotDelivered: The webhook was not delivered: The server cannot be reached.",
    )
    [message] = mail.outbox
    assert message.to == ["olga@example.com", "oscar@example.com"]
    assert message.subject == "The budget of group staff members is used up: 0.75 USD of 0.50 USD a month."
    assert "it is a soft budget, so nothing is refused" in message.body
    assert BudgetCounter.objects.get().alerted_at is not None
    alert = OpenAlert.objects.get()
    assert (alert.mailed_at is not None, alert.posted_at) == (True, None)
    assert alert.facts["used"] == "0.75"
