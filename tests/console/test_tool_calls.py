"""The page of calls of tools: found by filters, and downloaded as it is filtered."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from bedrock_chat.ledger.models import ToolCall
from tests.console.operators import make_operator

pytestmark = [pytest.mark.both, pytest.mark.django_db]

PAGE = "/console/bedrock_chat/toolcall/"


@pytest.fixture
def vera(client: Client, settings: object) -> Client:
    client.force_login(make_operator("vera", "view_toolcall"))
    return client


@pytest.fixture(autouse=True)
def calls() -> None:
    for days, tool, user, outcome in (
        (40, "internet_search", "alice", "success"),
        (2, "internet_search", "=bob", "timeout"),
        (1, "bedrock_agent", "alice", "success"),
    ):
        at = timezone.now() - timedelta(days=days)
        ToolCall.objects.create(
            created_at=at, turn_id="t", tool=tool, user_id=user, payer_id=user, bot_id="b1", outcome=outcome
        )


def exported(client: Client, kind: str, query: str = "") -> str:
    answer = client.get(f"{PAGE}export.{kind}?{query}")
    assert answer.status_code == 200
    assert answer["Content-Disposition"] == f'attachment; filename="tool-calls.{kind}"'
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]  # it is streamed


def test_what_the_filters_keep_is_downloaded_oldest_first(vera: Client) -> None:
    every = [json.loads(line) for line in exported(vera, "jsonl").splitlines()]
    assert [row["user_id"] for row in every] == ["alice", "=bob", "alice"]
    for query, tools in (
        ("days=7", ["internet_search", "bedrock_agent"]),
        ("payer=alice", ["internet_search", "bedrock_agent"]),
        ("days=7&user=alice", ["bedrock_agent"]),
        ("outcome=timeout", ["internet_search"]),
        ("tool=nothing", []),
    ):
        assert [json.loads(line)["tool"] for line in exported(vera, "jsonl", query).splitlines()] == tools, query
        page = vera.get(f"{PAGE}?{query}")
        assert [row.tool for row in page.context["cl"].result_list] == tools[::-1], query


def test_an_id_that_a_client_chose_is_no_formula_in_a_spreadsheet(vera: Client) -> None:
    names, *rows = csv.reader(io.StringIO(exported(vera, "csv", "outcome=timeout")))
    assert [row[names.index("user_id")] for row in rows] == ["'=bob"]
    assert [row[names.index("duration_ms")] for row in rows] == ["0"]


def test_without_the_permission_there_is_no_page_and_no_file(client: Client) -> None:
    client.force_login(make_operator("otto", "view_job"))
    for path in ("", "export.csv", "export.jsonl"):
        assert client.get(f"{PAGE}{path}").status_code == 403
