"""Sending alerts to the addresses that operators have set: one e-mail for all new ones together, and a signed post of
each. Every channel has a job of its own, so that one that fails is tried again alone.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction

from bedrock_chat.alerts.models import OpenAlert, Severity
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.outbound import webhooks
from bedrock_chat.resilience.deadlines import within

KIND: Final = "send alerts"
MAIL_SECONDS: Final = 30.0
"""For one e-mail in total. Each step of its own has EMAIL_TIMEOUT."""


class Channel(StrEnum):
    """How operators are told."""

    WEBHOOK = "webhook"
    EMAIL = "e-mail"


SENT_AT: Final[Mapping[Channel, str]] = {Channel.WEBHOOK: "posted_at", Channel.EMAIL: "mailed_at"}
"""The column that says when an alert went out by a channel."""


def channels() -> list[Channel]:
    """Those that the settings name an address for."""
    has_address = {Channel.WEBHOOK: settings.ALERT_URL, Channel.EMAIL: settings.ALERT_EMAILS}
    return [channel for channel, address in has_address.items() if address]


def ask(keys: Sequence[str]) -> None:
    """Asks for alerts to be sent, in the transaction that opens them."""
    if keys:
        for channel in channels():
            queue.enqueue(KIND, {"alerts": list(keys), "channel": channel})


def send(job: Claimed) -> None:
    """The job. Sends what is open still and was not sent before. Raises what the channel raises: it is tried again.

    No transaction is open and no connection is held while something is sent.
    """
    channel = Channel(job.payload["channel"])
    column = SENT_AT[channel]
    unsent = OpenAlert.objects.filter(key__in=job.payload["alerts"], **{f"{column}__isnull": True})
    alerts = list(unsent.order_by("-severity", "pk"))
    release_connection()
    mailed: list[OpenAlert] = []
    if alerts and channel in channels():
        match channel:
            case Channel.WEBHOOK:
                for alert in alerts:
                    _post(alert)
                    OpenAlert.objects.filter(pk=alert.pk).update(**{column: database_now()})
                    release_connection()
            case Channel.EMAIL:
                message = EmailMessage(_subject(alerts), _text(alerts), to=settings.ALERT_EMAILS)
                if within(MAIL_SECONDS, message.send):
                    mailed = alerts
    with transaction.atomic():
        OpenAlert.objects.filter(pk__in=[alert.pk for alert in mailed]).update(mailed_at=database_now())
        job.finish()


def _post(alert: OpenAlert) -> None:
    webhooks.deliver(
        settings.ALERT_URL,
        settings.ALERT_SECRET,
        event_id=f"alert-{alert.pk}",
        sent_at=datetime.now(UTC),
        document=_document(alert),
    )


def _document(alert: OpenAlert) -> dict[str, Any]:
    return {
        "type": "alert.opened",
        "timestamp": alert.opened_at.isoformat(),
        "data": {
            "condition": alert.condition,
            "severity": Severity(alert.severity).name.lower(),
            "sentence": alert.sentence,
            "whatToDo": alert.remedy,
            "link": _address(alert),
            **alert.facts,
        },
    }


def _subject(alerts: Sequence[OpenAlert]) -> str:
    first = " ".join(alerts[0].sentence.split())  # a name may have a line's end in it
    return first if len(alerts) == 1 else f"{len(alerts)} alerts: {first}"


def _text(alerts: Sequence[OpenAlert]) -> str:
    parts = [f"{alert.sentence}\n{alert.remedy}\n{_address(alert)}\n" for alert in alerts]
    return "\n".join([*parts, "There is no other message of these until they are resolved and come again.\n"])


def _address(alert: OpenAlert) -> str:
    return f"{settings.PUBLIC_BASE_URL}{alert.link}"
