"""Opening alerts, and closing those whose problem is gone. Each is sent once for as long as it is open."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction

from bedrock_chat.alerts import conditions, sending
from bedrock_chat.alerts.conditions import MOST, Condition, Problem
from bedrock_chat.alerts.models import OpenAlert, Severity
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.queue import Claimed

LONGEST = 300


def key_of(condition: str, subject: str) -> str:
    return f"{condition}:{subject}"[:256]


def open_alerts(condition: str, problems: Iterable[Problem]) -> None:
    """Opens those that are not open, in the caller's transaction, and asks for them to be sent, if they are to be."""
    now = database_now()
    to_send = []
    for problem in problems:
        alert = OpenAlert(
            key=key_of(condition, problem.subject),
            condition=condition,
            severity=problem.severity,
            sentence=problem.sentence[:LONGEST],
            remedy=problem.remedy[:LONGEST],
            link=problem.link[:LONGEST],
            facts=dict(problem.facts),
            opened_at=now,
            seen_at=now,
        )
        is_new = compiled_sql.insert_unless_taken(alert, ("key",))
        if is_new and problem.severity > Severity.NOTICE:
            to_send.append(alert.key)
    sending.ask(to_send)


def look(job: Claimed) -> None:
    """The periodic job: looks at all conditions, and then opens and closes alerts in one transaction.

    What is opened while it looks is younger than `now`, so it is not closed although nobody has seen it.
    """
    now = database_now()
    looked = [(condition, conditions.looked(condition)) for condition in conditions.registered()]
    with transaction.atomic():
        for condition, problems in looked:
            if problems is not None:
                _update(condition, problems, now)
        known = [condition.name for condition, _ in looked]
        OpenAlert.objects.exclude(condition__in=known).delete()
        job.finish()


def _update(condition: Condition, problems: Sequence[Problem], now: datetime) -> None:
    """Opens what is new, brings what is open up to date, and closes what is gone.

    Of a condition with MOST problems there may be more that nobody has looked at, so nothing of it is closed.
    """
    alerts = {alert.key: alert for alert in OpenAlert.objects.filter(condition=condition.name)}
    present = {key_of(condition.name, problem.subject): problem for problem in problems}
    open_alerts(condition.name, [problem for key, problem in present.items() if key not in alerts])
    OpenAlert.objects.filter(key__in=[key for key in present if key in alerts]).update(seen_at=now)
    for key, problem in present.items():
        alert = alerts.get(key)
        if alert is not None and (alert.sentence, alert.severity) != (problem.sentence[:LONGEST], problem.severity):
            rows = OpenAlert.objects.filter(pk=alert.pk)
            rows.update(sentence=problem.sentence[:LONGEST], severity=problem.severity, facts=dict(problem.facts))
    if len(problems) < MOST:
        gone = OpenAlert.objects.filter(condition=condition.name, seen_at__lte=now - condition.lasts)
        gone.exclude(key__in=present).delete()
