"""One alert a period of each soft budget that is used up: to the addresses that operators have set, by a job each."""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.ledger.budgets import amounts
from bedrock_chat.ledger.budgets.models import BudgetCounter
from bedrock_chat.ledger.budgets.statements import Counted
from bedrock_chat.outbound import webhooks
from bedrock_chat.resilience.deadlines import within

KIND: Final = "budget alert"
MAIL_SECONDS: Final = 30.0
"""For one e-mail in total. Each step of its own has EMAIL_TIMEOUT."""


class Channel(StrEnum):
    """How operators are told. Each is a job of its own, so that one that fails is tried again alone."""

    WEBHOOK = "webhook"
    EMAIL = "e-mail"


def note(counters: Iterable[Counted]) -> None:
    """Asks for the alerts of soft budgets that are used up, in the transaction that counted it. Once a period."""
    for counter in counters:
        if counter.is_hard or counter.used < counter.allowance or counter.alerted_at is not None:
            continue
        untold = BudgetCounter.objects.filter(pk=counter.pk, alerted_at__isnull=True)
        if untold.update(alerted_at=database_now()):
            for channel in channels():
                payload = {"counter": counter.pk, "channel": channel}
                queue.enqueue(KIND, payload, key=f"{KIND}:{counter.pk}:{channel}")


def channels() -> list[Channel]:
    """Those that the settings name an address for."""
    has_address = {Channel.WEBHOOK: settings.BUDGET_ALERT_URL, Channel.EMAIL: settings.BUDGET_ALERT_EMAILS}
    return [channel for channel, address in has_address.items() if address]


def send(job: Claimed) -> None:
    """The job of one alert by one channel. Raises what the channel raises, so that it is tried again."""
    counter = BudgetCounter.objects.filter(pk=job.payload["counter"]).first()
    channel = Channel(job.payload["channel"])
    release_connection()
    if counter is not None and counter.alerted_at is not None and channel in channels():
        match channel:
            case Channel.WEBHOOK:
                webhooks.deliver(
                    settings.BUDGET_ALERT_URL,
                    settings.BUDGET_ALERT_SECRET,
                    event_id=f"budget-{counter.pk}",
                    sent_at=datetime.now(UTC),
                    document=_document(counter, counter.alerted_at),
                )
            case Channel.EMAIL:
                message = EmailMessage(_subject(counter), _text(counter), to=settings.BUDGET_ALERT_EMAILS)
                within(MAIL_SECONDS, message.send)
    with transaction.atomic():
        job.finish()


def _document(counter: BudgetCounter, at: datetime) -> dict[str, Any]:
    """What the webhook sends. Amounts are texts: no digit may be lost."""
    return {
        "type": "budget.exceeded",
        "timestamp": at.isoformat(),
        "data": {
            "payer": counter.payer_kind,
            "id": counter.payer_id,
            "unit": counter.unit,
            "period": counter.label,
            "limit": amounts.plain(counter.allowance, counter.unit),
            "used": amounts.plain(counter.used, counter.unit),
            "endsAt": counter.ends_at.isoformat(),
        },
    }


def _subject(counter: BudgetCounter) -> str:
    named = " ".join(f"{counter.payer_kind} {counter.payer_id}".split())  # a name may have a line's end in it
    limit = amounts.sentence(counter.allowance, counter.unit)
    return f"The budget of {named} is used up: {limit} a {counter.period}"


def _text(counter: BudgetCounter) -> str:
    used = amounts.sentence(counter.used, counter.unit)
    return (
        f"{_subject(counter)}.\n\nIn {counter.label}, {used} were used. It is a soft budget, so nothing is refused; it "
        f"begins anew at {counter.ends_at:%Y-%m-%d %H:%M} UTC. There is no other alert until then.\n"
    )
