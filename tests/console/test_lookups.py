"""An operator who may only look learns what the pages show, and nothing by asking the database through an address."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from itertools import product
from typing import Any
from urllib.parse import quote, urlencode, urljoin

import pytest
from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.test import Client, RequestFactory

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import OperatorSession, User
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.wire.errors import BadRequest
from conversations.models import Conversation
from tests import build
from tests.console.operators import make_operator, make_viewer
from tests.console.own_filters import OWN_FILTERS

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 15, tzinfo=UTC)


@pytest.fixture(autouse=True)
def vera(db: None) -> User:
    """She may look at everything. There are Alice's conversation with a private title, Bob's, Olga's password, jobs,
    a worker, calls in three months, and an entry of the audit.
    """
    alice, bob = (User.objects.create(id=name, username=name, password="!") for name in ("alice", "bob"))
    build.exchange(build.conversation(alice, "c1", title="Divorce", instruction="Be kind"), "a private word")
    build.conversation(bob, "c2", model="amazon-nova-pro")
    make_operator("olga")
    job = {"kind": "remove blobs", "due_at": NOW, "created_at": NOW}
    Job.objects.create(**job)
    Job.objects.create(**job, state=State.DEAD, attempt=8, reason="OSError: the disk was full")
    Worker.objects.create(id="w", host="h", process=7, concurrency=8, started_at=NOW, seen_at=NOW)
    for days in (0, 40, 80):
        ModelCall.objects.create(
            created_at=NOW + timedelta(days=days),
            purpose=Purpose.TURN,
            user_id="alice",
            payer_id="alice",
            conversation_external_id="c1",
            model="claude-v4.5-sonnet" if days else "amazon-nova-pro",
            model_id="anthropic.claude-sonnet-4-5",
            region="us-east-1",
            latency_ms=1,
            fault="ThrottlingException" if days else "",
        )
    record(verbs.EXPORT_USER, "alice", actor=Program.command("export_user"))
    return make_viewer()


@pytest.fixture
def browser(vera: User) -> Client:
    """Vera's."""
    client = Client()
    client.force_login(vera)
    return client


def pages() -> list[ModelAdmin]:
    return list(admin.site._registry.values())


def address(page: ModelAdmin) -> str:
    return f"/console/{page.opts.app_label}/{page.opts.model_name}/"


def shown(page: ModelAdmin, query: str, visitor: User) -> Any:
    """The list of a page. Without the HTML it takes a moment. Raises BadRequest."""
    request = RequestFactory().get(f"{address(page)}?{query}")
    request.user = visitor
    return page.get_changelist_instance(request)


def refuses(page: ModelAdmin, query: str, visitor: User) -> bool:
    """Whether the list of a page, which is read to its end, refuses the query."""
    try:
        rows = shown(page, query, visitor).result_list
    except BadRequest:
        return True
    list(rows)
    return False


def paths(model: Any, depth: int = 1) -> Iterator[str]:
    """Every column of a model, and of the models next to it in either direction."""
    for field in model._meta.get_fields():
        if field.is_relation and field.related_model and depth:
            yield field.name
            for inner in paths(field.related_model, depth - 1):
                yield f"{field.name}__{inner}"
        elif field.concrete:
            yield field.name


LOOKUPS = (
    *("", "__exact", "__isnull", "__startswith", "__regex"),
    *("__contains", "__gt", "__in", "__date__year", "__has_key"),
)


SOME = pytest.param(7, id="every seventh")
ALL = pytest.param(1, id="all", marks=pytest.mark.slow)
"""How much of a product of pages, columns and values a test takes. Seven is prime to the length of each list."""


def test_every_page_stands_in_the_table() -> None:
    assert {page.model for page in pages()} == set(OWN_FILTERS)


@pytest.mark.parametrize("share", [SOME, ALL])
def test_a_page_takes_no_lookup_that_its_own_filters_do_not_make(vera: User, share: int) -> None:
    for page in pages():
        names = {f"{path}{lookup}" for path in paths(page.model) for lookup in LOOKUPS} - OWN_FILTERS[page.model]
        assert len(names) > 30
        assert [name for name in sorted(names)[::share] if not refuses(page, f"{name}=1", vera)] == []


def test_a_page_takes_what_its_own_filters_make(vera: User) -> None:
    for page in pages():
        for name in OWN_FILTERS[page.model] - {"from", "to"}:
            assert not refuses(page, f"{name}=1", vera), name
    assert not refuses(admin.site._registry[ModelCall], "from=2026-03-01&to=2026-03-31", vera)


GUESSES = [
    ("bedrock_chat/user", "password__startswith=pbkdf2", "password__startswith=x"),
    ("bedrock_chat/user", "password__regex=^pbkdf2", "password__regex=^x"),
    ("bedrock_chat/user", "conversation__title__contains=Div", "conversation__title__contains=x"),
    ("conversations/conversation", "title__contains=Div", "title__contains=x"),
    ("conversations/conversation", "instruction__icontains=kind", "instruction__icontains=x"),
    ("conversations/conversation", "messages__content__icontains=private", "messages__content__icontains=x"),
    ("conversations/conversation", "user__password__startswith=!", "user__password__startswith=x"),
    ("conversations/conversation", "feedback__isnull=1", "feedback__isnull=0"),
    ("bots/bot", "encrypted_secrets__startswith=g", "encrypted_secrets__startswith=x"),
    ("bots/bot", "versions__encrypted_secrets__contains=g", "versions__encrypted_secrets__contains=x"),
    ("bedrock_chat/job", "payload__has_key=x", "payload__has_key=y"),
]


def test_a_right_guess_and_a_wrong_one_get_the_same_answer(browser: Client) -> None:
    for page, right, wrong in GUESSES:
        answers = [browser.get(f"/console/{page}/?{guess}") for guess in (right, wrong)]
        assert [answer.status_code for answer in answers] == [400, 400]
        assert answers[0].content == answers[1].content


FOREIGN = ["password__regex=^p", "password__regex=(", "title__contains=D", "user__password__startswith=!", "x__y=%00"]


def test_every_page_answers_a_foreign_lookup_with_400(browser: Client) -> None:
    for page in pages():
        answers = {query: browser.get(f"{address(page)}?{query}").status_code for query in FOREIGN}
        assert answers == dict.fromkeys(FOREIGN, 400), page


def test_a_refusal_is_a_page_that_names_the_parameter_and_leads_back(browser: Client) -> None:
    response = browser.get("/console/bedrock_chat/user/?<script>alert(1)</script>=1")
    assert response["Content-Type"].startswith("text/html")
    page = response.content.decode()
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>alert(1)" not in page
    assert 'href="/console/bedrock_chat/user/"' in page


def test_the_searches_of_pages_find_nothing_private(browser: Client, vera: User) -> None:
    for page in pages():
        if not page.search_fields:
            assert refuses(page, "q=alice", vera)
            continue
        for word in ("Divorce", "kind", "private", "pbkdf2", "disk"):
            assert shown(page, f"q={word}", vera).result_count == 0, (page, word)
    page: Any = browser.get("/console/bedrock_chat/user/?q=alice")
    assert page.context["cl"].result_count == 1


BAD = [
    *("p=0", "p=-1", "p=abc", "p=1e3", "p=%D9%A1", "p=9999999999", "p="),
    *("o=abc", "o=1.", "o=.1", "o=--1", "o=1,2", "o=password", "o=?", "o=" + ".".join(["1"] * 100), "o=" + "9" * 5000),
    *("e=1", "_popup=1", "_to_field=id", "_to_field=password", "_changelist_filters=x%3D1", "x=1", "pk=1", "pk__in=1"),
    *("q=" + "a" * 201, "q=a&" + "p=1&" * 60, "=1", "__=1", "a__b__c=1", "%FF=1"),
]


def test_a_bad_parameter_is_refused_on_every_page(vera: User) -> None:
    for page in pages():
        assert [query for query in BAD if not refuses(page, query, vera)] == []


BAD_DATES = [
    *("created_at__year=0", "created_at__year=9999", "created_at__year=99999", "created_at__year=abc"),
    *("created_at__year=", "created_at__year=-1", "created_at__month=3", "created_at__day=3"),
    *("created_at__year=2026&created_at__month=13", "created_at__year=2026&created_at__day=1"),
    "created_at__year=2026&created_at__month=2&created_at__day=30",
    *("created_at__gte=2026-01-01", "created_at__year=2026&created_at__gte=2020-01-01", "created_at__year__gt=1"),
    *("is_staff__exact=banana", "is_staff__exact=", "username__startswith=c", "username__regex=.", "p=9"),
]


@pytest.mark.both
def test_a_bad_date_of_a_page_that_has_dates_is_refused(vera: User, monkeypatch: pytest.MonkeyPatch) -> None:
    page = admin.site._registry[User]
    monkeypatch.setattr(page, "date_hierarchy", "created_at")
    assert not refuses(page, "created_at__year=9998&created_at__month=12", vera)
    monkeypatch.setattr(page, "list_per_page", 2)
    assert not refuses(page, "p=2", vera)
    assert [query for query in BAD_DATES if not refuses(page, query, vera)] == []


BAD_OF_THE_LEDGER = [
    *("days=0", "days=2", "days=abc", "days=", "days=7&from=2026-03-01", "from=2026-03-01", "to=2026-03-01"),
    *("from=2026-03-02&to=2026-03-01", "from=2020-01-01&to=2026-01-01", "from=x&to=2026-03-01", "from=&to="),
    *("from=0001-01-01&to=0001-01-02", "from=9999-12-31&to=9999-12-31", "from=20260301&to=20260302"),
    *("o=1", "p=2", "all=", "_facets=True", "after=x", "after=", "before=-", "after=1&before=3", "before=1&before=x"),
    *("created_at__gte=2026-01-01", "model__startswith=c", "fault__regex=.", "estimated__exact=1"),
]


@pytest.mark.both
def test_a_bad_filter_of_the_ledger_is_refused(vera: User) -> None:
    page = admin.site._registry[ModelCall]
    assert not refuses(page, "days=7&after=3&model=amazon-nova-pro", vera)
    assert [query for query in BAD_OF_THE_LEDGER if not refuses(page, query, vera)] == []


def test_what_django_itself_refuses_is_400_too(browser: Client) -> None:
    assert browser.get(f"/console/bedrock_chat/user/?{'p=1&' * 1001}").status_code == 400
    assert browser.get("/console/bedrock_chat/user/?q=%00").status_code == 400


NASTY = [
    *("", "'", '"', "\\", "%", "_", "$", "(", "[", "=", "^", "@", '"a b', "' OR 1=1 --", "0x1", "None", "True"),
    *("9" * 40, "-1", "1e400", "nan", "2026-13-45", "é", "\U0001f600", "\ufffe", "a" * 200, " ".join("a" * 100)),
]


@pytest.mark.both
@pytest.mark.parametrize("share", [SOME, ALL])
def test_no_value_of_an_own_parameter_is_a_fault(vera: User, monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    for page in pages():
        monkeypatch.setattr(page, "list_per_page", 1)
        names = ["q", "o", "p", "all", "_facets", "after", "before", *sorted(OWN_FILTERS[page.model])]
        for name, value in list(product(names, NASTY))[::share]:
            refuses(page, f"{name}={quote(value)}", vera)  # or lists some rows, or none


@pytest.mark.both
def test_nor_is_one_of_the_filters_that_other_pages_may_have(vera: User, monkeypatch: pytest.MonkeyPatch) -> None:
    page = admin.site._registry[ModelCall]
    monkeypatch.setattr(page, "list_filter", ["created_at", "input_tokens", "price", "id"])
    values = ["0001-01-01 00:00:00+14:00", "9999-12-31 23:59:59-14:00", *NASTY]
    for name in ("created_at__gte", "created_at__lt", "input_tokens", "price", "id"):
        for value in values:
            with transaction.atomic():
                refuses(page, f"{name}={quote(value)}", vera)
    assert refuses(page, "created_at__gte=x", vera)
    assert refuses(page, f"id={'9' * 40}&id=1", vera) == refuses(page, f"id={'9' * 40}", vera)
    assert refuses(page, "model=x", vera)


def test_what_is_not_a_list_takes_no_lookup_either(browser: Client) -> None:
    olga = User.objects.get(login="olga")
    user = f"/console/bedrock_chat/user/{quote(olga.pk)}"
    for path in (f"{user}/change/", f"{user}/history/", f"{user}/delete/", "/console/bedrock_chat/user/add/"):
        for query in ("password__startswith=p", "_to_field=id", "_popup=1", "x"):
            assert browser.get(f"{path}?{query}").status_code == 400, path
    assert browser.get(f"{user}/change/?_changelist_filters=q%3Dolga").status_code == 200
    assert browser.get(f"{user}/history/?p=1").status_code == 200
    assert browser.get(f"{user}/history/?p=abc").status_code == 400


def test_no_page_leads_to_the_history_that_is_never_written(browser: Client) -> None:
    olga = User.objects.get(login="olga")
    page = browser.get(f"/console/bedrock_chat/user/{quote(olga.pk)}/change/").content.decode()
    assert "olga" in page
    assert "/history/" not in page


@pytest.mark.both
def test_the_page_of_no_row_is_no_fault(browser: Client) -> None:
    for page in pages():
        for key in ("9" * 40, "-1", "abc", "_27", "1/2", "%FF"):
            assert browser.get(f"{address(page)}{key}/change/").status_code == 302
        for kind in ("history", "delete"):
            assert browser.get(f"{address(page)}{'9' * 40}/{kind}/").status_code in (302, 403)


@pytest.mark.both
def test_an_action_on_no_row_is_400() -> None:
    client = Client()
    client.force_login(make_operator("otto", "view_job", "change_job"))
    for keys in (["abc"], ["9" * 40], ["1", "x"], [""]):
        form: dict[str, Any] = {"action": "retry", "index": "0", "_selected_action": keys}
        assert client.post("/console/bedrock_chat/job/", form).status_code == 400
    dead = Job.objects.get(state=State.DEAD)
    form = {"action": "retry", "index": "0", "confirmed": "yes", "_selected_action": str(dead.pk)}
    assert client.post("/console/bedrock_chat/job/?payload__has_key=x", form).status_code == 400
    assert client.post("/console/bedrock_chat/job/", form).status_code == 302
    assert Job.objects.get(pk=dead.pk).state == State.READY


def test_who_may_only_look_deletes_and_retries_nothing(browser: Client) -> None:
    for page in pages():
        keys = [str(row.pk) for row in page.model._default_manager.all()]
        for action in ("delete_selected", "retry", "cancel"):
            browser.post(address(page), {"action": action, "index": "0", "_selected_action": keys, "post": "yes"})
        assert {str(row.pk) for row in page.model._default_manager.all()} == set(keys)
    assert Job.objects.filter(state=State.DEAD).exists()


# ---- Views of Django's and the theme's that look things up besides the pages --------------------------------------


def completion(field: str, **parameters: str) -> str:
    names = zip(("app_label", "model_name", "field_name"), field.split(), strict=True)
    return f"/console/autocomplete/?{urlencode({**dict(names), 'term': 'alice', **parameters})}"


def test_nothing_is_completed_that_no_page_completes(browser: Client) -> None:
    for field in (
        "conversations conversation user",
        "admin logentry user",
        "conversations message conversation",
        "x x x",
    ):
        assert browser.get(completion(field)).status_code == 404
    assert browser.get("/console/autocomplete/").status_code == 404


def test_a_field_that_a_page_completes_is_completed(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.site._registry[Conversation], "autocomplete_fields", ["user"])
    field = "conversations conversation user"
    assert [row["text"] for row in browser.get(completion(field)).json()["results"]] == ["alice"]
    for parameters in ({"term": "a" * 300}, {"password__startswith": "x"}, {"page": "x"}, {"page": "0"}):
        assert browser.get(completion(field, **parameters)).status_code == 400


def test_the_themes_search_takes_its_own_parameters(browser: Client) -> None:
    assert browser.get("/console/search/?s=user").status_code == 200
    assert b"Divorce" not in browser.get("/console/search/?s=div&extended=1").content
    for query in ("s=user&page=abc", "s=user&page=0", "s=user&page=99", "s=" + "a" * 300, "s=user&password=x"):
        assert browser.get(f"/console/search/?{query}").status_code == 400


def test_no_view_tells_which_rows_a_table_has(browser: Client) -> None:
    for model in (OperatorSession, User, Conversation):
        kind = ContentType.objects.get_for_model(model).pk
        key = model._default_manager.values_list("pk", flat=True)[0]
        answers = [browser.get(f"/console/r/{kind}/{row}/") for row in (key, "0")]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].content == answers[1].content


# ---- What the pages make, they take -------------------------------------------------------------------------------


def links(path: str, page: str) -> set[str]:
    """The addresses in the console that a page links to."""
    targets = {urljoin(path, unescape(link)).partition("#")[0] for link in re.findall(r'href="([^"]+)"', page)}
    return {target for target in targets if target.startswith("/console/")}


@pytest.mark.parametrize("together", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_every_link_of_every_page_is_answered(browser: Client, monkeypatch: pytest.MonkeyPatch, together: int) -> None:
    """Filters, counts beside them, orderings, numbers of pages, dates, rows and their histories.

    Links are followed with up to so many parameters together, each such set once a page.
    """
    for page in pages():
        monkeypatch.setattr(page, "list_per_page", 1)
    seen: set[tuple[str, tuple[str, ...]]] = set()
    waiting = ["/console/"]
    while waiting:
        path = waiting.pop()
        response = browser.get(path)
        assert response.status_code == 200, path
        for link in links(path, b"".join(response).decode()):  # a file may be a stream
            place, _, query = link.partition("?")
            names = tuple(sorted(re.findall(r"(?:^|&)([^=&]*)", query))) if query else ()
            place = re.sub(r"/[^/]+/(change|history)/$", r"/\1", place)
            if len(names) <= together and (place, names) not in seen:
                seen.add((place, names))
                waiting.append(link)
    kinds = {name for _, names in seen for name in names}
    assert {"o", "p", "all", "_facets", "days", "after", "before", "fault"} <= kinds
    assert {"is_staff__exact", "state__exact", "kind", "model", "purpose", "_changelist_filters"} <= kinds
    assert len(seen) > 30
