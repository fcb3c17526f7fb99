"""The internet is searched at DuckDuckGo alone, and whatever it does becomes a result or one sentence."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from bots.tools import duckduckgo, internet, servers
from bots.tools.regions import region_of
from bots.tools.results import text_of
from bots.tools.tool import Context, Result
from tests.bots.tools import engines
from tests.bots.tools.calling import DUCKDUCKGO, bot, configuration, context
from tests.bots.tools.engines import Engines

BOT = bot(configuration(DUCKDUCKGO))


@pytest.fixture
def served(settings: LazySettings) -> Iterator[Engines]:
    with engines.running() as running:
        settings.DUCKDUCKGO_URL = running.duckduckgo
        _forget()
        yield running
    _forget()


def _forget() -> None:
    duckduckgo._engine.cache_clear()
    duckduckgo.kept.clear()
    servers._places._servers.clear()


def search(query: str, in_context: Context | None = None, **more: Any) -> Result:
    return internet.tool_of(DUCKDUCKGO, "internet_search").run({"query": query, **more}, in_context or context(BOT))


def sentence(result: Result) -> str:
    assert result.status == "error"
    (part,) = result.parts
    return text_of(part)


def test_each_page_is_a_part_and_a_document_with_title_and_link(served: Engines) -> None:
    result = search("tides")
    assert result.status == "success"
    assert [text_of(part) for part in result.parts] == [
        "Tides explained\nhttps://example.com/tides\nThe moon pulls the sea.",
        "Tide tables\nhttps://example.org/tables?x=1&y=2\nTimes of high water & low water.",
    ]
    assert [(document.source_name, document.source_link, document.content) for document in result.documents] == [
        (title, url, {"text": text}) for title, url, text in engines.RESULTS
    ]


def test_the_region_comes_from_the_locale_and_no_time_limit_is_sent_unasked(served: Engines) -> None:
    search("tides")
    search("tides", locale="ja-JP", time_limit="past week")
    search("tides", locale="de-AT", time_limit="")
    assert [request.body for request in served.requests] == [
        {"q": "tides", "l": "us-en"},
        {"q": "tides", "l": "jp-jp", "df": "w"},
        {"q": "tides", "l": "at-de"},
    ]


WISHES = "d:d w:w m:m y:y D:d day:d 1d:d d(day):d past_month:m 2_years:y weekly:w none: any: 2024-01-01..: :"


@pytest.mark.parametrize(("wish", "limit"), [pair.split(":") for pair in WISHES.split()])
def test_a_time_limit_is_one_of_four_letters_or_none(wish: str, limit: str) -> None:
    assert internet.time_limit(wish.replace("_", " ")) == (limit or None)


LOCALES = (
    "en-us:us-en us-en:us-en en-gb:uk-en ja-jp:jp-jp ja:jp-jp ko-kr:kr-kr zh-tw:tw-tzh zh-cn:cn-zh pt-br:br-pt"
    " fr:fr-fr en:us-en sv:se-sv uk-ua:ua-uk xx-yy:wt-wt :wt-wt wt-wt:wt-wt"
)


@pytest.mark.parametrize(("locale", "region"), [pair.split(":") for pair in LOCALES.split()])
def test_a_locale_becomes_a_region(locale: str, region: str) -> None:
    assert region_of(locale) == region


@pytest.mark.parametrize(
    ("word", "expected", "outcome"),
    [
        ("202", duckduckgo.THROTTLED, "throttled"),
        ("429", duckduckgo.THROTTLED, "throttled"),
        ("403", duckduckgo.THROTTLED, "throttled"),
        ("500", duckduckgo.FAILED, "failed"),
        ("redirect", duckduckgo.FAILED, "failed"),
        ("endless", duckduckgo.TOO_LARGE, "too_large"),
        ("gzip", duckduckgo.TOO_LARGE, "too_large"),
        ("nothing", internet.NOTHING, "empty"),
        ("broken", internet.NOTHING, "empty"),
    ],
)
def test_an_engine_that_fails_says_why(served: Engines, word: str, expected: str, outcome: str) -> None:
    result = search(f"tides (({word}))")
    assert (sentence(result), result.outcome) == (expected, outcome)
    assert len(served.requests) == 1  # nobody else was asked, and not twice


@pytest.mark.parametrize("word", ["hang", "drip"])
def test_a_silent_engine_is_waited_for_until_the_deadline(served: Engines, word: str) -> None:
    began = time.monotonic()
    result = search(f"tides (({word}))", context(BOT, 0.4))
    assert (sentence(result), result.outcome) == (duckduckgo.SILENT, "timeout")
    assert time.monotonic() - began < 5


def test_a_stop_ends_a_search_at_once(served: Engines) -> None:
    in_context = context(BOT)

    def stop() -> None:
        served.hung.wait(5)
        in_context.interruption.request()

    thread = threading.Thread(target=stop)
    thread.start()
    result = search("tides ((hang))", in_context)
    ended = time.monotonic()
    thread.join()
    assert (sentence(result), result.outcome) == ("The call was stopped.", "stopped")
    assert time.monotonic() - ended < 5


def test_an_engine_that_is_not_there_cannot_be_reached(settings: LazySettings, served: Engines) -> None:
    settings.DUCKDUCKGO_URL = "http://127.0.0.1:9/html/"
    duckduckgo._engine.cache_clear()
    result = search("tides")
    assert (sentence(result), result.outcome) == (duckduckgo.UNREACHABLE, "unreachable")
    for _ in range(3):
        result = search("tides")
    assert sentence(result) == servers.RESTING


def test_an_equal_search_is_answered_from_the_last_ten_minutes(
    served: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert search("tides") == search(" tides ")
    assert len(served.requests) == 1
    search("tides", time_limit="d")
    search("Tides")
    assert len(served.requests) == 3
    real = time.monotonic
    monkeypatch.setattr("bots.tools.duckduckgo.time.monotonic", lambda: real() + 601)
    search("tides")
    assert len(served.requests) == 4


def test_nothing_found_is_asked_for_again(served: Engines) -> None:
    for _ in range(2):
        search("((nothing))")
    assert len(served.requests) == 2


def test_four_searches_run_at_once_and_a_fifth_is_busy(served: Engines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "WAIT_SECONDS", 0.3)
    threads = [threading.Thread(target=search, args=(f"{n} ((hang))", context(BOT, 3))) for n in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 2
    while len(served.requests) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    result = search("tides")
    assert (sentence(result), result.outcome) == (servers.BUSY, "busy")
    served.over.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("query", ["", " \n", "\u200b", "x" * 1001])
def test_a_query_that_is_none_asks_nobody(served: Engines, query: str) -> None:
    assert search(query).outcome == "input"
    assert served.requests == []
