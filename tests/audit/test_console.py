"""The audit in the console: it can be read by who may, filtered, and changed by nobody."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client, RequestFactory
from django.utils import timezone

from bedrock_chat.audit import verbs
from bedrock_chat.audit.models import ActorKind, AuditEntry
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller, Program
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from tests.audit.test_expiring import date
from tests.console.operators import PASSWORD, make_operator, make_viewer

pytestmark = pytest.mark.django_db
PAGE = "/console/bedrock_chat/auditentry/"


@pytest.fixture
def settings(settings: Any) -> Any:
    settings.PASSWORD_HASHERS = ["tests.console.operators.FastHasher"]
    settings.JOBS = {"note": "tests.jobs.handlers.note"}
    return settings


def browser_of(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def vera(settings: Any) -> Client:
    """She may look at everything. There are three entries: of a command, a user, and an operator long ago."""
    record(verbs.EXPORT_USER, "u-alice", actor=Caller(user_id="u-olga", is_operator=True))
    date(AuditEntry.objects.get(), database_now() - timedelta(days=20))
    record(verbs.ERASE_USER, "u-bob", actor=Program.command("erase_user"))
    record(verbs.RETRY_JOB, "17", actor=Caller(user_id="u-alice"), values={"kind": "note"})
    return browser_of(make_viewer())


def shown(client: Client, query: str = "") -> list[tuple[str, str]]:
    """The verbs and targets that the page lists, the newest first."""
    response = client.get(f"{PAGE}?{query}")
    assert response.status_code == 200, query
    return [(row.verb, row.target_id) for row in response.context["cl"].result_list]


EXPORT, ERASE, RETRY = ("export", "u-alice"), ("erase", "u-bob"), ("retry", "17")


@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ("", [RETRY, ERASE, EXPORT]),
        ("verb=erase", [ERASE]),
        ("target=user", [ERASE, EXPORT]),
        ("target=job", [RETRY]),
        ("actor_kind__exact=operator", [EXPORT]),
        ("days=7", [RETRY, ERASE]),
        ("days=30", [RETRY, ERASE, EXPORT]),
        ("days=7&target=user", [ERASE]),
        ("q=u-alice", [RETRY, EXPORT]),
        ("q=u-alice&days=7", [RETRY]),
        ("q=U-ALICE", []),
        ("q=alice", []),
        ("q=erase_user", [ERASE]),
        ("o=2", [RETRY, ERASE, EXPORT]),
    ],
)
def test_the_page_filters_by_verb_target_actor_and_time(vera: Client, query: str, rows: list[tuple[str, str]]) -> None:
    assert shown(vera, query) == rows


def test_a_digest_is_found_by_its_id(vera: Client) -> None:
    record(verbs.ERASE_USER, "営業部", actor=Program.command("erase_user"))
    assert shown(vera, "q=営業部") == [("erase", verbs.kept_id("営業部"))]


@pytest.mark.parametrize("query", ["at__year=2026", "values__kind=note", "verb__startswith=e", "target_id=u-bob"])
def test_it_takes_no_other_lookup(vera: Client, query: str) -> None:
    assert vera.get(f"{PAGE}?{query}").status_code == 400


def test_an_entry_has_a_page_with_all_of_it(vera: Client) -> None:
    entry = AuditEntry.objects.get(verb="retry")
    page = vera.get(f"{PAGE}{entry.pk}/change/")
    assert page.status_code == 200
    assert "u-alice" in page.content.decode()


def test_nobody_adds_changes_or_deletes_an_entry(vera: Client) -> None:
    operator = browser_of(User.objects.create_superuser("olga", PASSWORD))
    entry = AuditEntry.objects.get(verb="retry")
    for client in (vera, operator):
        assert client.get(f"{PAGE}add/").status_code == 403
        assert client.post(f"{PAGE}add/", {"verb": "read"}).status_code == 403
        assert client.post(f"{PAGE}{entry.pk}/change/", {"verb": "read"}).status_code == 403
        assert client.post(f"{PAGE}{entry.pk}/delete/", {"post": "yes"}).status_code == 403
        client.post(PAGE, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"})
    assert AuditEntry.objects.filter(verb="retry").count() == 1


def test_only_who_may_view_entries_sees_them(vera: Client) -> None:
    assert shown(browser_of(make_operator("ines", "view_auditentry"))) == [RETRY, ERASE, EXPORT]
    assert browser_of(make_operator("udo", "view_user", "change_job")).get(PAGE).status_code == 403
    assert Client().get(PAGE).status_code == 302


# ---- What operators do in the console -------------------------------------------------------------------------------


def test_a_job_that_is_retried_or_cancelled_is_recorded(settings: Any) -> None:
    olga = make_operator("olga", "view_job", "change_job")
    client = browser_of(olga)
    queue.enqueue("note")
    job = Job.objects.get()
    for action in ("retry", "cancel"):
        form = {"action": action, "_selected_action": [job.pk]}
        client.post("/console/bedrock_chat/job/", form, REMOTE_ADDR="192.0.2.7", HTTP_X_REQUEST_ID=f"r-{action}")
    entries = AuditEntry.objects.order_by("pk")
    assert [(entry.verb, entry.target_id, entry.request_id) for entry in entries] == [
        ("retry", str(job.pk), "r-retry"),
        ("cancel", str(job.pk), "r-cancel"),
    ]
    for entry in entries:
        assert (entry.actor_kind, entry.actor_id, entry.network) == (ActorKind.OPERATOR, olga.pk, "192.0.2.7")
        assert entry.values == {"kind": "note"}


def test_a_job_that_runs_is_not_retried_and_nothing_is_recorded(settings: Any) -> None:
    queue.enqueue("note")
    (claimed,) = queue.claim("worker-1", 1)
    form = {"action": "retry", "_selected_action": [claimed.pk]}
    browser_of(make_operator("olga", "view_job", "change_job")).post("/console/bedrock_chat/job/", form)
    assert not AuditEntry.objects.exists()


def test_a_job_of_another_versions_kind_is_cancelled_and_recorded_without_it(settings: Any) -> None:
    Job.objects.create(kind="from elsewhere", due_at=timezone.now(), created_at=timezone.now())
    form = {"action": "cancel", "_selected_action": [Job.objects.get().pk]}
    browser_of(make_operator("olga", "view_job", "change_job")).post("/console/bedrock_chat/job/", form)
    assert not Job.objects.exists()
    assert AuditEntry.objects.get().values == {}


def test_a_password_that_is_changed_is_recorded(settings: Any) -> None:
    olga = make_operator("olga")
    client = browser_of(olga)
    new = "correct horse battery staple"
    form = {"old_password": "wrong", "new_password1": new, "new_password2": new}
    client.post("/console/password_change/", form)
    assert not AuditEntry.objects.exists()
    client.post("/console/password_change/", {**form, "old_password": PASSWORD})
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.target_id, entry.actor_id) == ("change password", olga.pk, olga.pk)
    assert (entry.fields, entry.values) == ([], {})


def test_djangos_own_log_which_keeps_names_is_not_written() -> None:
    request = RequestFactory().get("/console/")
    request.user = make_operator("olga")
    for page in admin.site._registry.values():
        page.log_addition(request, request.user, "added")
        page.log_change(request, request.user, "changed")
        page.log_deletions(request, User.objects.all())
    assert not LogEntry.objects.exists()
