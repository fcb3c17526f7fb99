"""Firecrawl is asked once, with the bot's own key, through the guard; it alone, and whatever it answers."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import LazySettings

from bots.tools import firecrawl, internet, servers
from bots.tools.results import text_of
from bots.tools.tool import Context, Result
from tests.bots.tools import engines
from tests.bots.tools.calling import bot, configuration, context
from tests.bots.tools.calling import firecrawl as configured
from tests.bots.tools.engines import Engines

pytestmark = pytest.mark.django_db
KEY = "fc-0123456789-seeded"


@pytest.fixture
def served(settings: LazySettings) -> Iterator[Engines]:
    servers._places._servers.clear()
    with engines.running() as running:
        settings.FIRECRAWL_URL = running.url
        settings.DUCKDUCKGO_URL = running.duckduckgo
        settings.OUTBOUND_ALLOW = ((), frozenset({("127.0.0.1", running.port)}))
        settings.OUTBOUND_HTTP_CREDENTIALS = True
        yield running
    servers._places._servers.clear()


def asking(seconds: float = 20.0, key: str = KEY) -> Context:
    return context(bot(configuration(configured()), {"internet_search": key} if key else {}), seconds)


def search(query: str, in_context: Context | None = None, *, most: int = 10, **more: Any) -> Result:
    tool = internet.tool_of(configured(most), "internet_search")
    return tool.run({"query": query, **more}, in_context or asking())


def sentence(result: Result) -> str:
    assert result.status == "error"
    (part,) = result.parts
    return text_of(part)


def test_each_page_is_a_part_and_a_document_with_title_and_link(served: Engines) -> None:
    result = search("tides")
    assert [text_of(part) for part in result.parts] == [
        f"{title}\n{url}\n# {title}\n\n{text}" for title, url, text in engines.RESULTS
    ]
    assert [(document.source_name, document.source_link) for document in result.documents] == [
        (title, url) for title, url, _ in engines.RESULTS
    ]


def test_one_post_asks_for_as_many_results_as_the_bot_wants_in_markdown(served: Engines) -> None:
    search("tides", most=1, locale="de-at", time_limit="month")
    (request,) = served.requests
    assert request.path == "/v2/search"
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "query": "tides",
        "limit": 1,
        "location": "AT",
        "tbs": "qdr:m",
        "scrapeOptions": {"formats": ["markdown"], "onlyMainContent": True},
    }


def test_the_older_shape_of_answers_is_read_too(served: Engines) -> None:
    assert len(search("tides ((old))").parts) == 2


def test_a_page_is_cut_at_four_thousand_characters(served: Engines) -> None:
    (first, _) = search("tides ((long))").documents
    assert first.content == {"text": "y" * 4000}


@pytest.mark.parametrize(
    ("word", "expected", "outcome"),
    [
        ("401", firecrawl.REFUSED, "denied"),
        ("403", firecrawl.REFUSED, "denied"),
        ("402", firecrawl.NO_CREDITS, "denied"),
        ("429", firecrawl.THROTTLED, "throttled"),
        ("400", firecrawl.NOT_UNDERSTOOD, "failed"),
        ("500", firecrawl.FAILED, "failed"),
        ("503", firecrawl.FAILED, "failed"),
        ("broken", firecrawl.UNREADABLE, "unreadable"),
        ("nothing", internet.NOTHING, "empty"),
    ],
)
def test_a_failing_engine_says_why_and_no_other_is_asked(
    served: Engines, word: str, expected: str, outcome: str
) -> None:
    result = search(f"tides (({word}))")
    assert (sentence(result), result.outcome) == (expected, outcome)
    assert [request.path for request in served.requests] == ["/v2/search"]


@pytest.mark.parametrize("word", ["redirect", "endless", "gzip"])
def test_what_the_guard_refuses_is_one_sentence(served: Engines, word: str) -> None:
    result = search(f"tides (({word}))")
    assert sentence(result).count(".") == 1
    assert [request.path for request in served.requests] == ["/v2/search"]


@pytest.mark.parametrize("word", ["hang", "drip"])
def test_a_silent_engine_is_waited_for_until_the_deadline(served: Engines, word: str) -> None:
    began = time.monotonic()
    assert search(f"tides (({word}))", asking(0.5)).outcome == "timeout"
    assert time.monotonic() - began < 5


def test_a_stop_ends_a_search_at_once(served: Engines) -> None:
    in_context = asking()

    def stop() -> None:
        served.hung.wait(5)
        in_context.interruption.request()

    thread = threading.Thread(target=stop)
    thread.start()
    result = search("tides ((hang))", in_context)
    thread.join()
    assert (sentence(result), result.outcome) == ("The call was stopped.", "stopped")


def test_a_key_that_comes_back_is_redacted(served: Engines) -> None:
    result = search("tides ((echo))")
    assert result.status == "success"
    assert KEY not in repr(result)
    assert "Bearer [redacted]" in text_of(result.parts[0])


@pytest.mark.parametrize("key", ["", "with space", "line\nbreak", "ключ"])
def test_a_key_that_is_none_is_sent_to_nobody(served: Engines, key: str) -> None:
    assert search("tides", asking(key=key)).outcome in ("settings", "denied")
    assert served.requests == []


def test_a_key_is_not_sent_without_encryption(served: Engines, settings: LazySettings) -> None:
    settings.OUTBOUND_HTTP_CREDENTIALS = False
    assert sentence(search("tides")) == "A credential is sent over https alone."
    assert served.requests == []


def test_a_private_address_is_not_called(served: Engines, settings: LazySettings) -> None:
    settings.OUTBOUND_ALLOW = ((), frozenset())
    assert sentence(search("tides")) == "This address is not allowed."
    assert served.requests == []


def test_a_key_that_stands_where_a_text_is_cut_is_redacted_whole(served: Engines) -> None:
    result = search("((edge))")
    assert result.status == "success"
    assert KEY[:5] not in repr(result)
