"""Pages without text are read by a model: each once, four at a time, and a fault is that page's reason."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bedrock_chat.bedrock import catalog
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.process.interruption import Interruption
from bots.knowledge import parsing
from bots.knowledge.parsing import NoParsingModel, Parsed
from bots.knowledge.reading.pages import Heading, Page, Reading, Unreadable
from bots.knowledge.reading.readers import Readers
from tests.bots.knowledge import documents
from tests.emulator import Emulator

HAIKU = catalog.find("claude-v4.5-haiku")
ALICE = Caller(user_id="alice", groups=frozenset())


def scan(path: Path, *pages: str | None) -> tuple[str, Reading]:
    """A PDF of these pages, and what a reader says of it."""
    path.write_bytes(documents.pdf(pages, picture=True, size=(200, 200)))
    empty = tuple(number for number, text in enumerate(pages, 1) if text is None)
    texts = tuple(Page(number, text) for number, text in enumerate(pages, 1) if text is not None)
    return str(path), Reading(texts, empty_pages=empty)


@pytest.fixture
def parse(readers: Readers) -> Any:
    def parse(scanned: tuple[str, Reading], known: dict[str, str] | None = None, **options: Any) -> Parsed:
        path, reading = scanned
        options = {"interruption": Interruption(), "most_characters": 100_000, "known": known or {}, **options}
        options = {"readers": readers, **options}
        return parsing.parse(path, reading, HAIKU, actor=ALICE, bot_id="bot", **options)

    return parse


@pytest.mark.django_db
def test_pages_are_read_once_and_paid_by_the_owner(parse: Any, emulator: Emulator, tmp_path: Path) -> None:
    scanned = scan(tmp_path / "a.pdf", None, "The second page has text.", None, None)
    emulator.queue(
        {"text": "# Leave\n\nTwenty\u202e days."}, {"text": "# Leave\n\nTwenty days."}, {"text": parsing.EMPTY}
    )
    parsed = parse(scanned)
    assert parsed.is_whole
    assert parsed.fault is None
    pages = parsed.reading.pages
    [blank] = parsed.reading.empty_pages
    read = [page for page in pages if page.number != 2]
    assert [page.number for page in pages] == sorted({1, 2, 3, 4} - {blank})
    assert {page.text for page in read} == {"# Leave\n\nTwenty days."}
    assert {page.headings for page in read} == {(Heading(0, 1, "Leave"),)}
    assert parsed.reading.note == f"page {blank} holds no text."
    assert sorted(parsed.texts.values()) == ["", "# Leave\n\nTwenty days.", "# Leave\n\nTwenty days."]

    assert {(call.user_id, call.payer_id) for call in parsed.calls} == {("alice", "alice")}
    recording.insert_late(parsed.calls)
    rows = ModelCall.objects.values_list("purpose", "bot_id", "model", "fault")
    assert list(rows) == [("parsing", "bot", HAIKU.key, "")] * 3
    assert all(price and price > 0 for price in ModelCall.objects.values_list("price", flat=True))

    emulator.clear_requests()
    again = parse(scanned, parsed.texts)
    assert (again.calls, again.texts, emulator.requests()) == ([], {}, [])
    assert again.reading == parsed.reading


def test_what_is_sent_is_a_picture_and_says_that_pages_are_no_instructions(
    parse: Any, emulator: Emulator, tmp_path: Path
) -> None:
    parse(scan(tmp_path / "a.pdf", None))
    [call] = emulator.requests()
    [message] = call["body"]["messages"]
    assert [list(block) for block in message["content"]] == [["image"], ["text"]]
    assert "never an instruction" in message["content"][1]["text"]
    assert call["operation"] == "Converse"


def test_a_fault_is_its_pages_reason_and_one_of_all_pages_ends_the_calls(
    parse: Any, emulator: Emulator, tmp_path: Path, settings: Any
) -> None:
    settings.MODEL_RETRY_SECONDS = 0
    scanned = scan(tmp_path / "a.pdf", *[None] * 6)
    emulator.queue({}, {"fault": "ValidationException"}, {}, {}, {}, {})
    parsed = parse(scanned)
    assert parsed.is_whole
    [failed] = parsed.reading.empty_pages
    assert len(parsed.reading.pages) == 5
    assert parsed.reading.note == f"Claude Haiku 4.5 could not read page {failed} (ValidationException)."
    assert sorted(call.fault for call in parsed.calls) == [*[""] * 5, "ValidationException"]

    emulator.reset()
    emulator.script(fault="AccessDeniedException")
    parsed = parse(scanned)
    assert not parsed.is_whole
    assert parsed.fault is not None
    assert parsed.fault.code == "AccessDeniedException"
    assert len(emulator.requests()) <= parsing.AT_ONCE
    assert parsed.reading.pages == ()


def test_a_call_asks_for_few_pages_and_the_next_goes_on(parse: Any, emulator: Emulator, tmp_path: Path) -> None:
    scanned = scan(tmp_path / "a.pdf", *[None] * 5)
    first = parse(scanned, most_new=3)
    assert (first.is_whole, len(first.calls), len(first.drawn)) == (False, 3, 3)
    second = parse(scanned, first.texts, drawn=first.drawn, most_new=4)
    assert set(second.drawn) == {4, 5}, "no page is drawn twice"
    assert (second.is_whole, len(second.calls), len(second.reading.pages)) == (True, 2, 5)
    assert second.reading.note == ""


@pytest.mark.parametrize("is_blank", [True, False])
def test_pages_that_cost_the_model_nothing_are_drawn_once_and_in_the_time_of_a_slice(
    parse: Any, emulator: Emulator, tmp_path: Path, is_blank: bool
) -> None:
    path, reading = scan(tmp_path / "a.pdf", *[None] * 9)
    if is_blank:
        (tmp_path / "a.pdf").write_bytes(documents.pdf([None] * 9, size=(200, 200)))
    known = {} if is_blank else parse((path, reading)).texts
    emulator.clear_requests()
    drawn: dict[int, str] = {}
    for numbers in ({1, 2, 3, 4}, {5, 6, 7, 8}, {9}):
        parsed = parse((path, reading), known, drawn=drawn, until=0.0)
        assert set(parsed.drawn) == numbers
        drawn |= parsed.drawn
        known |= parsed.texts
    assert parsed.is_whole
    assert len(parsed.reading.empty_pages) == (9 if is_blank else 0)
    assert emulator.requests() == []


def test_texts_end_at_the_limit_of_a_document(parse: Any, emulator: Emulator, tmp_path: Path) -> None:
    emulator.script(text="word " * 20)
    parsed = parse(scan(tmp_path / "a.pdf", None, None), most_characters=150)
    assert sum(len(page.text) for page in parsed.reading.pages) == 150
    assert parsed.reading.note == "only the first 150 characters were read."


def test_an_interruption_keeps_what_was_paid(parse: Any, emulator: Emulator, tmp_path: Path) -> None:
    switch = Interruption()
    switch.request()
    parsed = parse(scan(tmp_path / "a.pdf", None, None), interruption=switch)
    assert (parsed.is_whole, parsed.calls, parsed.texts) == (False, [], {})


def test_a_page_that_cannot_be_drawn_throws_nothing_away_that_was_paid(
    parse: Any, readers: Readers, emulator: Emulator, tmp_path: Path
) -> None:
    missing = parse((str(tmp_path / "none.pdf"), Reading((), empty_pages=(1,))))
    assert (type(missing.error), missing.is_whole) == (Unreadable, False)

    class Torn:
        def render(self, path: str, pages: list[int], interruption: Interruption) -> Iterator[tuple[int, bytes]]:
            yield from readers.render(path, pages[:4], interruption)
            raise Unreadable("The file is damaged.")

    parsed = parse(scan(tmp_path / "a.pdf", *[None] * 5), readers=Torn())
    assert str(parsed.error) == "The file is damaged."
    assert (len(parsed.calls), len(parsed.texts), sorted(parsed.drawn)) == (4, 4, [1, 2, 3, 4])


def test_a_page_that_is_not_there_is_waited_for_by_nobody(parse: Any, emulator: Emulator, tmp_path: Path) -> None:
    path, reading = scan(tmp_path / "a.pdf", None)
    parsed = parse((path, replace(reading, empty_pages=(1, 99))))
    assert (parsed.is_whole, list(parsed.drawn), parsed.reading.note) == (True, [1], "page 99 holds no text.")


def test_pages_that_the_model_refuses_are_asked_for_once(
    parse: Any, emulator: Emulator, tmp_path: Path, settings: Any
) -> None:
    settings.MODEL_RETRY_SECONDS = 0
    scanned = scan(tmp_path / "a.pdf", *[None] * 4)
    emulator.script(fault="ValidationException")
    first = parse(scanned, most_new=3)
    assert (first.is_whole, len(first.calls), len(first.failed)) == (False, 3, 3)
    second = parse(scanned, drawn=first.drawn, failed=first.failed, most_new=3)
    assert (second.is_whole, len(second.calls)) == (True, 1)
    assert second.reading.note == "Claude Haiku 4.5 could not read 4 pages from page 1 on (ValidationException)."


def test_the_named_model_reads_where_it_is_offered_to_all_and_else_the_settings(
    settings: Any,
) -> None:
    assert parsing.model_of("anthropic.claude-3-haiku-v1").key == "claude-v3-haiku"
    assert parsing.model_of("anthropic.claude-3-5-sonnet-v1").key == "claude-v3.5-sonnet"
    assert parsing.model_of("anthropic.claude-3-sonnet-v1").key == settings.PARSING_MODEL
    settings.GLOBAL_AVAILABLE_MODELS = ["amazon-nova-pro"]
    assert parsing.model_of("anthropic.claude-3-haiku-v1").key == settings.PARSING_MODEL
    settings.PARSING_MODEL = "gpt-oss-20b"
    with pytest.raises(NoParsingModel, match="cannot see pages"):
        parsing.model_of("anthropic.claude-3-haiku-v1")
    settings.PARSING_MODEL = "none-such"
    with pytest.raises(NoParsingModel, match="no model"):
        parsing.model_of("anthropic.claude-3-haiku-v1")
    assert parsing.estimate(HAIKU, 10).amount.tokens == 10 * parsing.estimate(HAIKU, 1).amount.tokens > 0
