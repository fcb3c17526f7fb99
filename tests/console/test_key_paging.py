"""Lists of tables that grow without end: paged by key, nothing counted, and no page reads more than it may."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from bedrock_chat.console import key_paging
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger import zones
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups import making, reading
from tests.console.operators import make_operator, make_viewer
from tests.ledger.calls import call

pytestmark = [pytest.mark.django_db, pytest.mark.both]

LEDGER = "/console/bedrock_chat/modelcall/"
START = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(make_viewer())
    return client


def fill(count: int, **columns: Any) -> list[int]:
    """Calls, a minute apart. Returns their keys in their order."""
    rows = [call(START + timedelta(minutes=number), **columns) for number in range(count)]
    return [row.pk for row in ModelCall.objects.bulk_create(rows)]


def keys(response: Any) -> list[int]:
    return [row.pk for row in response.context["cl"].result_list]


def link(response: Any, relation: str) -> str:
    """The address behind `Next` or `Previous`, or an empty text."""
    match = re.search(rf'<a href="([^"]+)" rel="{relation}"', response.content.decode())
    return LEDGER + match[1].replace("&amp;", "&") if match else ""


def test_pages_lead_to_each_other_in_both_directions(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.site._registry[ModelCall], "list_per_page", 3)
    newest_first = fill(8)[::-1]
    response: Any = browser.get(LEDGER)
    pages = [keys(response)]
    assert link(response, "prev") == ""
    while following := link(response, "next"):
        response = browser.get(following)
        pages.append(keys(response))
    assert pages == [newest_first[:3], newest_first[3:6], newest_first[6:]]
    backwards = [pages[-1]]
    while preceding := link(response, "prev"):
        response = browser.get(preceding)
        backwards.append(keys(response))
    assert backwards == pages[::-1]
    assert link(response, "next") != ""


def test_a_row_that_comes_meanwhile_moves_no_page(browser: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin.site._registry[ModelCall], "list_per_page", 3)
    newest_first = fill(6)[::-1]
    following = link(browser.get(LEDGER), "next")
    fill(2)
    assert keys(browser.get(following)) == newest_first[3:]


def test_a_filter_stays_from_page_to_page_and_begins_with_the_first(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.site._registry[ModelCall], "list_per_page", 2)
    mine = fill(5, bot_id="b1")[::-1]
    fill(5, bot_id="b2")
    response: Any = browser.get(f"{LEDGER}?bot=b1")
    assert keys(response) == mine[:2]
    response = browser.get(link(response, "next"))
    assert keys(response) == mine[2:4]
    assert "after=" not in "".join(re.findall(r'href="(\?[^"]*days=[^"]*)"', response.content.decode()))


def test_nothing_is_counted(browser: Client) -> None:
    fill(3)
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(f"{LEDGER}?model=claude-v4.5-sonnet").status_code == 200
    assert not [query["sql"] for query in queries if "COUNT(" in query["sql"].upper()]
    assert not [query["sql"] for query in queries if "DISTINCT" in query["sql"].upper()]


def test_a_filter_without_an_index_looks_at_some_keys_and_says_so(
    browser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_paging, "SCANNED", 4)
    [old] = fill(1, fault="ThrottlingException")
    fill(9)
    response: Any = browser.get(f"{LEDGER}?fault=any")
    assert keys(response) == []
    assert b"Nothing so far" in response.content
    assert b"Nothing matches" not in response.content
    pages = 1
    while keys(response) != [old]:
        response = browser.get(link(response, "next"))
        pages += 1
    assert pages == 3
    assert b"looks further" in browser.get(f"{LEDGER}?fault=any").content
    assert keys(browser.get(f"{LEDGER}?fault=any&user=alice")) == [old]  # an index finds it


def test_a_search_for_an_id_asks_once_which_column_has_it(browser: Client) -> None:
    [key] = fill(1, bot_id="b1")
    with CaptureQueriesContext(connection) as queries:
        assert keys(browser.get(f"{LEDGER}?q=b1")) == [key]
    of_user = 'WHERE "conversations_modelcall"."user_id" = '
    looked = [query["sql"] for query in queries if of_user in query["sql"] and query["sql"].endswith("LIMIT 1")]
    assert len(looked) == 1


def test_who_pays_is_found_with_their_own_calls_and_published_ones(browser: Client) -> None:
    published = {"user_id": None, "publication_id": "p", "key_id": "k"}
    [own] = fill(1)
    [paid] = fill(1, **published)
    [bobs] = fill(1, payer_id="bob", **published)
    assert keys(browser.get(f"{LEDGER}?payer=alice")) == [paid, own]
    assert keys(browser.get(f"{LEDGER}?q=bob")) == [bobs]


def test_a_value_that_no_column_can_hold_is_refused(browser: Client) -> None:
    """Else the list would be one of all rows, under an address that names one."""
    for name in ("bot", "fault"):
        assert browser.get(f"{LEDGER}?{name}={'x' * 257}").status_code == 400


def test_a_period_is_turned_into_keys(browser: Client) -> None:
    first = fill(3)[::-1]
    [later] = [row.pk for row in ModelCall.objects.bulk_create([call(START + timedelta(days=2))])]
    expected = {"03": first, "04": [], "05": [later]}
    assert {day: keys(browser.get(f"{LEDGER}?from=2026-03-{day}&to=2026-03-{day}")) for day in expected} == expected
    for _ in making.steps(START + timedelta(days=3)):
        pass
    first_key, last_key = reading.keys_of(zones.days(date(2026, 3, 3), date(2026, 3, 3)))
    assert first_key is not None
    assert (first_key <= first[-1], last_key) == (True, first[0])
    assert {day: keys(browser.get(f"{LEDGER}?from=2026-03-{day}&to=2026-03-{day}")) for day in expected} == expected


def test_rows_of_other_pages_cannot_be_selected(browser: Client) -> None:
    browser.force_login(make_operator("otto", "view_job", "change_job"))
    now = START
    jobs = [Job.objects.create(kind="k", due_at=now, created_at=now, state="dead", reason="r") for _ in range(2)]
    form = {"action": "retry", "index": "0", "_selected_action": str(jobs[0].pk)}
    assert browser.post("/console/bedrock_chat/job/", {**form, "select_across": "1"}).status_code == 400
    assert browser.post("/console/bedrock_chat/job/", {**form, "select_across": "0"}).status_code == 200  # asks first
    assert [job.state for job in Job.objects.order_by("pk")] == ["dead", "dead"]


def test_no_list_of_many_rows_asks_its_table_which_values_there_are() -> None:
    for page in admin.site._registry.values():
        if isinstance(page, key_paging.KeyPagedAdmin):
            named = [column for column in page.list_filter if isinstance(column, str)]
            assert [column for column in named if not page.opts.get_field(column).choices] == [], page
