"""The console's home: the figures of a period, the same as charts, tables and files, and whether anything is wrong."""

import csv
import io
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bedrock_chat.console import alerts_page
from bedrock_chat.console.dashboard import charts
from bedrock_chat.console.panels import Chart, ChartKind, Series, Unit
from bedrock_chat.identity.models import User
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.ledger.budgets.models import BudgetCounter
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups.models import Refusal
from tests.console import busy_days
from tests.console.operators import make_operator, make_viewer
from tests.ledger.calls import call

pytestmark = [pytest.mark.django_db, pytest.mark.both]

NOON = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
MARCH = "from=2026-02-27&to=2026-03-04"
PANELS = [
    "totals",
    "cost-by-day",
    "requests-by-day",
    "models",
    "first-token",
    "errors",
    "people",
    "bots",
    "keys",
    "knowledge",
    "refusals",
]


@pytest.fixture(autouse=True)
def tokyo(settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "Asia/Tokyo"


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(make_viewer())
    return client


@pytest.fixture
def busy() -> None:
    busy_days.fill(until=NOON, days=3, a_day=20)


def rows_of(browser: Client, panel: str, query: str = MARCH) -> list[list[str]]:
    """The CSV file of a panel, without its first line."""
    response = browser.get(f"/console/dashboard/{panel}.csv?{query}")
    assert response.status_code == 200
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    _, *rows = csv.reader(io.StringIO(response.content.decode("utf-8-sig")))
    return rows


def links_of(browser: Client, query: str) -> Iterator[str]:
    page = browser.get(f"/console/?{query}").content.decode()
    content = page[page.index('class="console-home"') :]
    for link in dict.fromkeys(re.findall(r'href="([^"]+)"', content)):
        yield unescape(link)


def test_the_figures_are_those_of_the_ledger(browser: Client, busy: None) -> None:
    calls = list(ModelCall.objects.all())
    totals = dict(rows_of(browser, "totals"))
    assert totals["Requests to models"] == str(len(calls))
    assert Decimal(totals["Cost (USD)"]) == sum(row.price or 0 for row in calls)
    assert totals["Errors of models"] == str(sum(bool(row.fault) for row in calls))
    assert totals["Refused by our limits"] == str(sum(row.count for row in Refusal.objects.all()))
    by_day = rows_of(browser, "cost-by-day")
    assert sum(Decimal(row[1]) for row in by_day) == sum(row.price or 0 for row in calls)
    assert all(Decimal(row[1]) == sum(map(Decimal, row[2:])) for row in by_day)
    people = {row[1]: Decimal(row[4]) for row in rows_of(browser, "people")}
    assert people == {
        payer: sum(row.price or 0 for row in calls if row.payer_id == payer) for payer in busy_days.PEOPLE
    }
    assert {row[0] for row in rows_of(browser, "bots")} == set(busy_days.BOTS.values())
    assert {row[1]: int(row[2]) for row in rows_of(browser, "errors")} == {
        fault: sum(row.fault == fault for row in calls) for fault in {row.fault for row in calls if row.fault}
    }


def test_a_day_is_a_day_of_the_zone_of_reports(browser: Client) -> None:
    """At 15:30 UTC it is the next day in Tokyo."""
    for at in (NOON, NOON + timedelta(hours=3, minutes=30)):
        call(at, price=Decimal(1)).save()
    assert [row[0] for row in rows_of(browser, "cost-by-day")] == ["2026-03-04", "2026-03-03"]
    assert dict(rows_of(browser, "totals", "from=2026-03-03&to=2026-03-03"))["Requests to models"] == "1"
    assert "Asia/Tokyo" in browser.get(f"/console/?{MARCH}").content.decode()


def test_every_panel_has_a_chart_with_axes_a_legend_a_table_and_a_file(browser: Client, busy: None) -> None:
    page: Any = browser.get(f"/console/?{MARCH}")
    html = page.content.decode()
    assert [shown.name for shown in page.context["panels"]] == PANELS
    for shown in page.context["panels"]:
        assert len(rows_of(browser, shown.name)) == len(shown.panel.table.rows) > 0
        if shown.name != "totals":
            assert shown.panel.chart.title in html
            assert f">{shown.panel.chart.value_axis}</text>" in shown.drawing
            drawn = {name for _, name in shown.legend} or {series.name for series in shown.panel.chart.series}
            assert drawn == {series.name for series in shown.panel.chart.series}
    assert "<script>" not in html


def test_every_figure_leads_to_the_rows_behind_it(browser: Client, busy: None) -> None:
    """A link of each kind is answered, and lists of calls have as many rows as the figure says."""
    links = list(links_of(browser, MARCH))
    assert sum("modelcall" in urlsplit(link).path for link in links) > 20
    kinds = {(urlsplit(link).path, *sorted(dict(parse_qsl(urlsplit(link).query)))): link for link in links}
    assert len(kinds) > 10
    for link in kinds.values():
        response: Any = browser.get(link if link.startswith("/") else f"/console/{link}")
        assert response.status_code == 200, link
    for panel, parameter, value, count in (
        ("errors", "fault", 1, 2),
        ("people", "payer", 1, 2),
        ("models", "model", 0, 1),
    ):
        for row in rows_of(browser, panel):
            page: Any = browser.get(f"/console/bedrock_chat/modelcall/?{MARCH}&{parameter}={row[value]}")
            assert min(50, int(row[count])) == page.context["cl"].result_count


@pytest.mark.parametrize(
    "query", ["days=2", "days=x", "days=7&from=2026-03-01", "from=2026-03-01", "from=2026-03-05&to=2026-03-01", "x=1"]
)
def test_what_is_no_period_is_refused(browser: Client, query: str) -> None:
    assert browser.get(f"/console/?{query}").status_code == 400
    assert browser.get(f"/console/dashboard/totals.csv?{query}").status_code == 400


def test_who_may_not_see_the_ledger_gets_neither_panels_nor_files() -> None:
    stranger, viewer_of_jobs = Client(), Client()
    viewer_of_jobs.force_login(make_operator("otto", "view_job"))
    page: Any = viewer_of_jobs.get("/console/")
    assert (page.status_code, page.context["panels"]) == (200, [])
    assert viewer_of_jobs.get("/console/dashboard/totals.csv").status_code == 404
    assert viewer_of_jobs.get("/console/dashboard/nothing.csv").status_code == 404
    assert stranger.get("/console/dashboard/totals.csv").status_code == 302


def test_a_name_is_no_formula_in_a_spreadsheet(browser: Client) -> None:
    User.objects.create(id="mallory", username="=HYPERLINK(1)", password="!")
    call(NOON, user_id="mallory", payer_id="mallory").save()
    assert rows_of(browser, "people")[0][0] == "'=HYPERLINK(1)"


def test_an_empty_period_says_so(browser: Client) -> None:
    page = browser.get("/console/?days=1").content.decode()
    assert "No call to a model in this period." in page
    assert "No bot was asked in this period." in page


# ---- The first glance -----------------------------------------------------------------------------------------------


def troubles(browser: Client) -> list[str]:
    page: Any = browser.get("/console/")
    assert ("All is well." in page.content.decode()) == (not page.context["troubles"])
    return [trouble.text for trouble in page.context["troubles"]]


@pytest.fixture
def a_worker() -> Worker:
    now = timezone.now()
    later = now + timedelta(hours=1)
    return Worker.objects.create(id="w", host="h", process=7, concurrency=8, started_at=now, seen_at=later)


def test_without_a_trouble_all_is_well(browser: Client, a_worker: Worker) -> None:
    busy_days_without_troubles = {"until": timezone.now(), "days": 1, "a_day": 3, "with_troubles": False}
    busy_days.fill(**busy_days_without_troubles)  # type: ignore[arg-type]
    assert troubles(browser) == []


def test_what_is_wrong_is_told_with_the_place_where_it_is_mended(browser: Client) -> None:
    busy_days.fill(until=timezone.now(), days=1, a_day=3)
    Worker.objects.all().delete()
    page: Any = browser.get("/console/")
    assert len(page.context["troubles"]) == 5
    texts = " ".join(trouble.text for trouble in page.context["troubles"])
    for words in ("given up", "No worker", "could not be brought up to date", "nearly used up", "The key key-web"):
        assert words in texts
    for trouble in page.context["troubles"]:
        assert browser.get(trouble.link).status_code == 200
    listed: Any = browser.get("/console/publication/apikey/?ending=soon")
    assert [row.pk for row in listed.context["cl"].result_list] == ["key-web"]


def test_throttles_above_a_rate_are_told(browser: Client, a_worker: Worker) -> None:
    now = timezone.now()
    ModelCall.objects.bulk_create(call(now, fault="ThrottlingException", price=None) for _ in range(4))
    assert troubles(browser) == []
    ModelCall.objects.bulk_create(call(now, fault="ThrottlingException", price=None) for _ in range(20))
    [sentence] = troubles(browser)
    assert sentence.startswith("Bedrock throttled 100 % of the last 24 calls to claude-v4.5-sonnet.")
    ModelCall.objects.bulk_create(call(now) for _ in range(400))
    assert troubles(browser) == []


def test_many_full_budgets_are_by_words_in_few_lines(browser: Client, a_worker: Worker) -> None:
    busy_days.fill(until=timezone.now(), days=1, a_day=1)
    full = BudgetCounter.objects.get()
    for number in range(5):
        BudgetCounter.objects.create(
            **{
                field.name: getattr(full, field.name)
                for field in BudgetCounter._meta.fields
                if field.name not in ("id", "label", "used")
            },
            label=f"l{number}",
            used=full.allowance + number,
        )
    budget_texts = [text for text in troubles(browser) if "budget" in text.lower()]
    assert len(budget_texts) == alerts_page.SHOWN + 1
    assert "is used up" in budget_texts[0]


def test_the_home_costs_as_many_statements_whatever_there_is(browser: Client, a_worker: Worker) -> None:
    def statements() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert browser.get("/console/?days=30").status_code == 200
        return sum(not query["sql"].startswith(("SAVEPOINT", "RELEASE", "SET LOCAL")) for query in queries)

    before = statements()
    busy_days.fill(until=timezone.now(), days=10, a_day=10)
    after = statements()
    Job.objects.bulk_create(
        Job(kind="k", state=State.DEAD, reason="r", due_at=NOON, created_at=NOON) for _ in range(50)
    )
    assert statements() == after
    assert after - before <= 25  # days and months, which were not made before
    assert after <= 80


def test_the_axis_of_a_day_that_cost_cents_tells_its_lines_apart() -> None:
    for highest in (Decimal("0.0107"), Decimal("0.0000021"), Decimal("0.9"), Decimal(3), Decimal(70_000)):
        chart = Chart(
            ChartKind.STACKED, "Cost", ["03-01"], [Series("a model", [float(highest)])], Unit.USD, "Day", "USD"
        )
        written = re.findall(r'text-anchor="end">([^<]+)<', charts.draw(chart))
        assert len(written) == len(set(written)) >= 4, written
        assert max(map(len, written)) <= 9
