"""An alert is open for as long as its problem is there, and is sent once for that time."""

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from django.conf import LazySettings
from django.core import mail
from django.db import connection, transaction
from django.utils import timezone

from bedrock_chat.alerts import conditions, opening, sending
from bedrock_chat.alerts.conditions import Condition, Problem
from bedrock_chat.alerts.models import OpenAlert, Severity
from bedrock_chat.console import alerts_page
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.models import Job
from tests.console.operators import make_operator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

SECRET = b"k" * 32


class Troubles:
    """A condition whose problems a test chooses."""

    def __init__(self) -> None:
        self.present: list[Problem] = []
        self.fails = False

    def check(self) -> list[Problem]:
        if self.fails:
            raise RuntimeError("away")
        return self.present

    def add(self, subject: str, severity: Severity = Severity.WARNING, sentence: str = "") -> None:
        self.present.append(
            Problem(subject, severity, sentence or f"{subject} is broken.", "Mend it.", f"/console/{subject}/")
        )


@pytest.fixture
def troubles(monkeypatch: pytest.MonkeyPatch, settings: LazySettings) -> Troubles:
    settings.ALERT_EMAILS = ["olga@example.com"]
    settings.PUBLIC_BASE_URL = "https://chat.example.com"
    troubles = Troubles()
    own = Condition("troubles", troubles.check, "", timedelta())
    monkeypatch.setattr(conditions, "_conditions", {"troubles": own})
    return troubles


class Receiver(BaseHTTPRequestHandler):
    """Takes posts, and keeps them if their signature is right."""

    posts: list[dict[str, Any]] = []
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        if self.headers["webhook-signature"] == f"v1,{signature}":
            Receiver.posts.append({"id": self.headers["webhook-id"], **json.loads(body)})
        self.send_response(Receiver.status)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


@pytest.fixture
def webhook(troubles: Troubles, settings: LazySettings) -> Iterator[type[Receiver]]:
    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    settings.ALERT_URL, settings.ALERT_SECRET = f"http://127.0.0.1:{server.server_port}/", SECRET
    Receiver.posts, Receiver.status = [], 200
    yield Receiver
    server.shutdown()
    server.server_close()
    thread.join()


def work(kind: str) -> None:
    """Does all jobs of a kind that are due."""
    for job in queue.claim("worker", 50):
        if job.kind == kind:
            performing.perform(job)
        else:
            queue.give_back(job)


def look() -> None:
    Job.objects.create(kind="look for alerts", due_at=timezone.now(), created_at=timezone.now())
    work("look for alerts")
    work(sending.KIND)


def subjects() -> list[str]:
    return [message.subject for message in mail.outbox]


def test_a_problem_is_sent_once_and_again_only_after_it_was_resolved(troubles: Troubles) -> None:
    troubles.add("disk")
    look()
    look()
    [message] = mail.outbox
    assert (message.to, message.subject) == (["olga@example.com"], "disk is broken.")
    assert "Mend it.\nhttps://chat.example.com/console/disk/" in message.body
    troubles.present.clear()
    look()
    assert not OpenAlert.objects.exists()
    troubles.add("disk")
    look()
    assert subjects() == ["disk is broken."] * 2


def test_new_alerts_are_one_mail_and_a_post_each_that_is_signed(troubles: Troubles, webhook: type[Receiver]) -> None:
    troubles.add("disk")
    troubles.add("fan", Severity.URGENT, "The fan\nstopped.")
    troubles.add("dust", Severity.NOTICE)
    look()
    assert subjects() == ["2 alerts: The fan stopped."]
    assert [post["data"]["sentence"] for post in webhook.posts] == ["The fan\nstopped.", "disk is broken."]
    post = webhook.posts[1]
    alert = OpenAlert.objects.get(key="troubles:disk")
    assert (post["type"], post["id"]) == ("alert.opened", f"alert-{alert.pk}")
    assert post["data"] == {
        "condition": "troubles",
        "severity": "warning",
        "sentence": "disk is broken.",
        "whatToDo": "Mend it.",
        "link": "https://chat.example.com/console/disk/",
    }
    assert OpenAlert.objects.get(key="troubles:dust").posted_at is None  # the console alone tells of it


def test_a_channel_that_fails_is_tried_again_alone_and_sends_nothing_twice(
    troubles: Troubles, webhook: type[Receiver]
) -> None:
    troubles.add("disk")
    webhook.status = 500
    look()
    assert len(mail.outbox) == 1
    [job] = Job.objects.filter(kind=sending.KIND)
    assert (job.payload["channel"], job.reason) == ("webhook", "NotDelivered: The webhook was answered with 500.")
    webhook.status = 200
    queue.retry(job.pk)
    work(sending.KIND)
    assert [post["id"] for post in webhook.posts] == [f"alert-{OpenAlert.objects.get().pk}"] * 2  # a receiver knows it
    assert not Job.objects.filter(kind=sending.KIND).exists()
    assert len(mail.outbox) == 1


def test_nothing_is_sent_inside_a_transaction(troubles: Troubles, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mail.EmailMessage, "send", lambda *_, **__: mail.outbox.append(connection.in_atomic_block))
    troubles.add("disk")
    look()
    assert mail.outbox == [False]


def test_more_problems_than_are_looked_at_close_nothing(troubles: Troubles) -> None:
    for number in range(conditions.MOST + 5):
        troubles.add(f"disk{number:02}")
    look()
    assert OpenAlert.objects.count() == conditions.MOST
    troubles.present.reverse()
    look()
    assert OpenAlert.objects.count() == conditions.MOST + 5
    assert subjects() == ["20 alerts: disk00 is broken.", "5 alerts: disk24 is broken."]


def test_a_condition_that_cannot_be_looked_at_closes_nothing(troubles: Troubles) -> None:
    troubles.add("disk")
    look()
    troubles.fails = True
    look()
    assert OpenAlert.objects.count() == 1
    troubles.fails = False
    look()
    assert len(mail.outbox) == 1


def test_the_first_glance_says_what_could_not_be_looked_at(troubles: Troubles, rf: Any) -> None:
    troubles.fails = True
    conditions.register("troubles", troubles.check, permission="bedrock_chat.view_job")
    request = rf.get("/console/")
    request.user = make_operator("vera", "view_job")
    [trouble] = alerts_page.troubles(request)
    assert trouble.text == "This could not be looked at: troubles. The log says why."


def test_an_alert_that_is_opened_while_others_are_looked_at_stays_open(troubles: Troubles) -> None:
    def check() -> list[Problem]:
        problems = list(troubles.present)
        troubles.add("fan")
        with transaction.atomic():
            opening.open_alerts("troubles", troubles.present[-1:])
        return problems

    conditions.register("troubles", check, permission="")
    look()
    assert [alert.key for alert in OpenAlert.objects.all()] == ["troubles:fan"]


def test_an_alert_that_nobody_could_be_told_of_is_not_called_sent(troubles: Troubles, settings: LazySettings) -> None:
    troubles.add("disk")
    Job.objects.create(kind="look for alerts", due_at=timezone.now(), created_at=timezone.now())
    work("look for alerts")
    settings.ALERT_EMAILS = []
    work(sending.KIND)
    assert not Job.objects.filter(kind=sending.KIND).exists()
    assert OpenAlert.objects.get().mailed_at is None


def test_what_comes_and_goes_is_open_for_as_long_as_the_condition_lasts(
    troubles: Troubles, monkeypatch: pytest.MonkeyPatch
) -> None:
    conditions.register("troubles", troubles.check, permission="", lasts=timedelta(minutes=15))
    troubles.add("disk")
    look()
    [problem] = troubles.present
    troubles.present.clear()
    look()
    troubles.present.append(problem)
    look()
    assert len(mail.outbox) == 1
    troubles.present.clear()
    later = timezone.now() + timedelta(minutes=16)
    monkeypatch.setattr(opening, "database_now", lambda: later)
    look()
    assert not OpenAlert.objects.exists()


def test_an_alert_of_a_condition_that_is_no_more_is_closed(troubles: Troubles) -> None:
    troubles.add("disk")
    look()
    conditions.register("others", list, permission="")
    conditions._conditions.pop("troubles")
    look()
    assert not OpenAlert.objects.exists()
