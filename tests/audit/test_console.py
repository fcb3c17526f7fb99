"""The audit in the console: it can be read by who may, filtered, and changed by nobody."""

import csv
import io
import json
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client, RequestFactory
from django.utils import timezone

from bedrock_chat.audit import append_only, verbs
from bedrock_chat.audit.models import ActorKind, AuditEntry
from bedrock_chat.audit.recording import Change, record
from bedrock_chat.console import row_exports
from bedrock_chat.console.registry import troubles_for
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
        ("kind=operator", [EXPORT]),
        ("days=7", [RETRY, ERASE]),
        ("days=30", [RETRY, ERASE, EXPORT]),
        ("days=7&target=user", [ERASE]),
        ("q=u-alice", [RETRY, EXPORT]),
        ("q=u-alice&days=7", [RETRY]),
        ("q=U-ALICE", []),
        ("q=alice", []),
        ("q=erase_user", [ERASE]),
        ("actor=u-alice", [RETRY]),
        ("about=u-alice", [EXPORT]),
        ("about=u-alice&verb=erase", []),
    ],
)
def test_the_page_filters_by_verb_target_actor_and_time(vera: Client, query: str, rows: list[tuple[str, str]]) -> None:
    assert shown(vera, query) == rows


def test_a_digest_is_found_by_its_id(vera: Client) -> None:
    record(verbs.ERASE_USER, "営業部", actor=Program.command("erase_user"))
    assert shown(vera, "q=営業部") == [("erase", verbs.kept_id("営業部"))]


@pytest.mark.parametrize(
    "query", ["at__year=2026", "values__kind=note", "verb__startswith=e", "target_id=u-bob", "o=2", "p=2"]
)
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


def test_an_entry_says_in_words_what_was_before_and_after(vera: Client) -> None:
    changes = {"scope": Change("private", "all"), "users": Change([], ["u-bob"]), "groups": ["x", "y"]}
    verb = verbs.Verb("share", "bot", {name: lambda value: value for name in changes})
    record(
        verb,
        "b1",
        actor=Caller("u-alice"),
        fields=["scope", "title"],
        version_before=2,
        version_after=3,
        values=changes,
    )
    sentence = "version: 2 → 3; scope: private → all; users: none → u-bob; groups: x, y; title"
    assert sentence in vera.get(f"{PAGE}?about=b1").content.decode()


def test_times_are_those_of_the_zone_of_reports_which_is_named(vera: Client, settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "Asia/Tokyo"
    entry = AuditEntry.objects.get(verb="retry")
    shown_time = f"{entry.at.astimezone(ZoneInfo('Asia/Tokyo')):%Y-%m-%d %H:%M:%S} JST"
    assert shown_time in vera.get(PAGE).content.decode()


def test_a_page_of_entries_costs_the_same_whatever_their_number(
    vera: Client, django_assert_max_num_queries: Any
) -> None:
    for number in range(60):
        record(verbs.EXPORT_USER, f"u-{number}", actor=Caller(user_id="u-olga"))
    with django_assert_max_num_queries(5):
        assert len(shown(vera)) == 50


def test_the_first_glance_says_where_the_database_does_not_guard_the_audit(vera: Client) -> None:
    request = RequestFactory().get("/console/")
    request.user = User.objects.get(login="vera")
    assert not [trouble for trouble in troubles_for(request) if "audit" in trouble.text]
    append_only.lift()
    try:
        (trouble,) = [trouble for trouble in troubles_for(request) if "audit" in trouble.text]
    finally:
        append_only.guard()
    assert "manage.py migrate" in trouble.text
    assert trouble.link == PAGE


# ---- Exports --------------------------------------------------------------------------------------------------------


def exported(client: Client, kind: str, query: str = "") -> str:
    answer = client.get(f"{PAGE}export.{kind}?{query}")
    assert answer.status_code == 200
    assert f"audit.{kind}" in answer["Content-Disposition"]
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]  # the stubs know no stream


@pytest.fixture
def olga(vera: Client) -> Client:
    """An admin."""
    return browser_of(make_operator("olga", "view_auditentry", "export_auditentry"))


def test_what_the_filters_keep_is_exported_oldest_first_which_leaves_an_entry(olga: Client) -> None:
    lines = [json.loads(line) for line in exported(olga, "jsonl").splitlines()]
    assert [line["verb"] for line in lines] == ["export", "erase", "retry", "export"]
    assert (lines[0]["target_id"], lines[2]["values"]) == ("u-alice", {"kind": "note"})
    assert (lines[3]["target_kind"], lines[3]["target_id"], lines[3]["actor_kind"]) == ("audit", "jsonl", "operator")
    some = [json.loads(line) for line in exported(olga, "jsonl", "days=7&target=user").splitlines()]
    assert [(line["verb"], line["target_id"]) for line in some] == [ERASE]


def test_an_export_as_csv_has_a_line_of_names(olga: Client) -> None:
    names, *rows = csv.reader(io.StringIO(exported(olga, "csv", "target=job")))
    (row,) = [dict(zip(names, row, strict=True)) for row in rows]
    assert (row["verb"], row["values"], row["actor_id"]) == ("retry", '{"kind": "note"}', "u-alice")


def test_an_export_reads_few_keys_at_a_time(olga: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_exports, "KEYS_AT_A_TIME", 2)
    assert len(exported(olga, "jsonl").splitlines()) == 4


def test_an_export_is_for_admins_and_takes_only_the_lists_filters(vera: Client, olga: Client) -> None:
    assert "export.csv" not in vera.get(PAGE).content.decode()
    assert "export.csv?target=job" in olga.get(f"{PAGE}?target=job").content.decode()
    for kind in ("csv", "jsonl"):
        assert vera.get(f"{PAGE}export.{kind}").status_code == 403
        assert Client().get(f"{PAGE}export.{kind}").status_code == 302
        assert olga.get(f"{PAGE}export.{kind}?verb__startswith=e").status_code == 400
    assert not AuditEntry.objects.filter(target_kind="audit").exists()


# ---- What operators do in the console -------------------------------------------------------------------------------


def test_a_job_that_is_retried_or_cancelled_is_recorded(settings: Any) -> None:
    olga = make_operator("olga", "view_job", "change_job")
    client = browser_of(olga)
    queue.enqueue("note")
    job = Job.objects.get()
    for action in ("retry", "cancel"):
        form = {"action": action, "_selected_action": [job.pk], "confirmed": "yes"}
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
    form = {"action": "retry", "_selected_action": [claimed.pk], "confirmed": "yes"}
    browser_of(make_operator("olga", "view_job", "change_job")).post("/console/bedrock_chat/job/", form)
    assert not AuditEntry.objects.exists()


def test_a_job_of_another_versions_kind_is_cancelled_and_recorded_without_it(settings: Any) -> None:
    Job.objects.create(kind="from elsewhere", due_at=timezone.now(), created_at=timezone.now())
    form = {"action": "cancel", "_selected_action": [Job.objects.get().pk], "confirmed": "yes"}
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
