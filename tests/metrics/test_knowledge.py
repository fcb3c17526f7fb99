"""A worker syncs a bot's knowledge twice; Prometheus finds each document, step and token counted, and no address."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.bots.bot import payload
from tests.bots.knowledge.sync.syncs import Site, page
from tests.bots.upload import sources
from tests.emulator import Emulator
from tests.live import LiveServer
from tests.metrics.scrapes import TOKEN, Scrape, scrape, working
from tests.serving.conftest import eventually

MODEL = "titan_v2"
DOCUMENTS = "bedrock_chat_knowledge_documents_total"
STEPS = "bedrock_chat_knowledge_step_seconds_count"
SECONDS = "bedrock_chat_knowledge_step_seconds_sum"
SECRET = "ornithopter"
"""A word of people: in names, addresses and texts."""


def counts(seen: Scrape) -> dict[str, float]:
    outcomes = ("read", "shown", "failed", "skipped", "unchanged")
    return {outcome: seen.value(DOCUMENTS, outcome=outcome) for outcome in outcomes}


def steps(seen: Scrape) -> dict[str, float]:
    return {step: seen.value(STEPS, step=step) for step in ("fetch", "read", "cut", "embed", "show")}


@pytest.fixture(scope="module")
def syncs(data: Path, emulator_process: Emulator) -> Iterator[tuple[Scrape, Scrape, dict[str, Any]]]:
    """What is counted after a first sync, and after another one that found nothing new; the bot's report.

    Of its documents two are found, a torn PDF fails, and a page that is read for its links alone is skipped. Bedrock
    throttles the first call.
    """
    emulator_process.reset()
    emulator_process.embeddings(troubles=[{"fault": "ThrottlingException", "times": 1}])
    variables = {"METRICS_TOKEN": TOKEN, "OUTBOUND_ALLOW": "127.0.0.0/8", "CRAWL_PAGES_PER_MINUTE": "100000"}
    unkept = f'<html><head><meta name="robots" content="noindex"></head><body>{SECRET}</body></html>'
    pages = {
        f"/{SECRET}": page("Leave", "Everybody has thirty days.", f"/{SECRET}/unkept"),
        f"/{SECRET}/unkept": unkept,
    }
    with Site(pages) as site, LiveServer(data, emulator_process.url, **variables) as server, working(server):
        token = server.manage("issue_token", "alice")
        for name, body in ((f"{SECRET}.txt", b"Apples are red."), ("torn.pdf", b"%PDF-1.7 torn")):
            query = f"/bot/b/presigned-url?filename={name}&contentType=text/plain"
            address = urlsplit(server.call("GET", query, token=token)[1]["url"])
            url = f"{server.url}{address.path}?{address.query}"
            assert httpx.put(url, content=body, headers={"Content-Type": "text/plain"}).status_code == 200
        knowledge = {**sources(f"{SECRET}.txt", "torn.pdf"), "sourceUrls": [f"{site.url}/{SECRET}"]}
        assert server.call("POST", "/bot", payload("b", knowledge=knowledge), token=token)[0] == 200
        first = synced(server, token, after=0)
        seen = scrape(server)
        assert server.call("POST", "/bot/b/knowledge/sync", {}, token=token)[0] == 200
        report = synced(server, token, after=first["lastSyncTime"])
        yield seen, scrape(server), report


def synced(server: LiveServer, token: str, *, after: float) -> dict[str, Any]:
    """The bot's report, once its sync has ended."""
    report: dict[str, Any] = {}

    def is_over() -> bool:
        nonlocal report
        report = server.call("GET", "/bot/b/knowledge", token=token)[1]
        return bool(report["syncStatus"] == "FAILED" and report["lastSyncTime"] > after)

    assert eventually(is_over, 30), report
    return report


def test_documents_are_counted_by_what_came_of_them(syncs: tuple[Scrape, Scrape, dict[str, Any]]) -> None:
    first, second, _ = syncs
    assert counts(first) == {"read": 2, "shown": 2, "failed": 1, "skipped": 1, "unchanged": 0}
    assert counts(second) == {"read": 2, "shown": 2, "failed": 2, "skipped": 2, "unchanged": 2}


def test_each_step_of_a_document_is_timed_once(syncs: tuple[Scrape, Scrape, dict[str, Any]]) -> None:
    first, second, _ = syncs
    assert steps(first) == {"fetch": 4, "read": 4, "cut": 2, "embed": 2, "show": 2}
    assert steps(second) == {"fetch": 8, "read": 6, "cut": 2, "embed": 2, "show": 2}  # those without a text, again
    for step in steps(first):
        assert 0 < first.value(SECONDS, step=step) < 60
        assert first.value("bedrock_chat_knowledge_step_seconds_bucket", step=step, le="+Inf") == steps(first)[step]


def test_calls_for_vectors_are_counted_with_tokens_price_and_throttles(
    syncs: tuple[Scrape, Scrape, dict[str, Any]], emulator_process: Emulator
) -> None:
    first, second, report = syncs
    served = emulator_process.embedded()
    assert first.value("bedrock_chat_model_calls_total", model=MODEL, outcome="answered") == served["calls"] > 0
    assert first.value("bedrock_chat_model_tokens_total", model=MODEL, kind="input") == report["tokens"]
    assert report["tokens"] == served["tokens"] > 0
    assert first.value("bedrock_chat_model_throttles_total", model=MODEL) == 1
    assert 0 < first.value("bedrock_chat_model_price_usd_total", model=MODEL) < 0.01
    for counted in ("calls", "tokens", "throttles"):  # the second sync asks no model
        name = f"bedrock_chat_model_{counted}_total"
        assert second.value(name, model=MODEL) == first.value(name, model=MODEL)


def test_no_label_holds_a_name_an_address_or_a_text(syncs: tuple[Scrape, Scrape, dict[str, Any]]) -> None:
    _, second, _ = syncs
    assert second.value("bedrock_chat_requests_total", route="/bot/{bot_id}/knowledge") > 0
    assert SECRET not in second.text
    assert "127.0.0.1" not in second.text
