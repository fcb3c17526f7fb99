"""What a tool gives is cleaned, bounded and never empty, and names its sources."""

import pytest
from django.conf import LazySettings
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.bedrock.tools import FoundDocument
from bots.tools import results
from bots.tools.tool import JsonPart, Part, TextPart

HIDDEN = "\0\ud800\U000e0041\u202e\u2066\u200f\u200b\u2060\ufeff"


def document(name: str, text: str = "") -> FoundDocument:
    return FoundDocument(
        "", {"text": text} if text else {}, "", source_name=name, source_link=f"https://example.com/{name}"
    )


def texts(parts: tuple[Part, ...]) -> list[str]:
    return [results.text_of(part) for part in parts]


def test_what_nobody_sees_is_removed_from_every_place() -> None:
    result = results.of(
        [TextPart(f"a{HIDDEN}b"), JsonPart({f"k{HIDDEN}": [f"v{HIDDEN}", {"n": f"w{HIDDEN}"}]})],
        [document(f"n{HIDDEN}", f"d{HIDDEN}")],
    )
    assert result.parts == (TextPart("ab"), JsonPart({"k": ["v", {"n": "w"}]}))
    assert result.documents[0].source_name == "n"
    assert result.documents[0].content == {"text": "d"}
    assert result.documents[0].source_link == "https://example.com/n"


def test_a_line_and_a_tab_stay_and_so_do_other_scripts() -> None:
    text = "a\tb\r\nc 日本語 العربية עברית é 👍"
    assert results.of([TextPart(text)]).parts == (TextPart(text),)


def test_nothing_is_said_to_be_nothing() -> None:
    for parts in ([], [TextPart("")], [TextPart(" \n"), TextPart("\u200b")]):
        assert results.of(parts).parts == (TextPart("(no result)"),)


def test_a_credential_that_comes_back_is_redacted() -> None:
    result = results.of(
        [TextPart("key: fc-secret-1!"), JsonPart({"k": "fc-secret-1"})],
        [document("fc-secret-1", "fc-secret-1")],
        secrets=["fc-secret-1"],
    )
    assert "fc-secret-1" not in repr(result)
    assert result.parts[0] == TextPart("key: [redacted]!")


def test_an_overlong_text_keeps_three_quarters_of_its_head_and_a_quarter_of_its_tail(settings: LazySettings) -> None:
    settings.TOOL_RESULT_CHARS = 1000
    (text,) = texts(results.of([TextPart("a" * 5000 + "z" * 5000)]).parts)
    assert text == "a" * 750 + "\n(9000 characters left out)\n" + "z" * 250


def test_over_several_parts_the_middle_goes_with_its_documents(settings: LazySettings) -> None:
    settings.TOOL_RESULT_CHARS = 1000
    parts = [TextPart(letter * 400) for letter in "abcdef"]
    result = results.of(parts, [document(letter) for letter in "abcdef"])
    kept = texts(result.parts)
    assert kept == ["a" * 400, "b" * 350 + "\n(1400 characters left out)", "f" * 250]
    assert [document.source_name for document in result.documents] == ["a", "b", "f"]


def test_a_cut_between_two_parts_is_noted_once(settings: LazySettings) -> None:
    settings.TOOL_RESULT_CHARS = 1000
    result = results.of([TextPart("a" * 750), TextPart("m" * 500), TextPart("z" * 250)])
    assert texts(result.parts) == ["a" * 750 + "\n(500 characters left out)", "z" * 250]


SIZES = st.lists(st.integers(1, 3000), min_size=1, max_size=12)


@given(SIZES)
def test_no_result_is_longer_than_its_bound_and_none_is_empty(sizes: list[int]) -> None:
    from django.test import override_settings

    with override_settings(TOOL_RESULT_CHARS=1000):
        result = results.of([TextPart("x" * size) for size in sizes], [document(str(size)) for size in sizes])
    kept = texts(result.parts)
    total = sum(sizes)
    assert all(text.strip() for text in kept)
    assert len(result.documents) == len(result.parts)
    assert "".join(kept).count("x") - "".join(kept).count("characters left out") * 0 == min(total, 1000)
    assert "".join(kept).count("characters left out)") == (total > 1000)


def test_a_document_shows_no_more_than_what_is_left_of_its_part(settings: LazySettings) -> None:
    settings.TOOL_RESULT_CHARS = 1000
    result = results.of([TextPart("a" * 5000)], [document("a", "a" * 5000)])
    assert result.documents[0].content == {"text": results.text_of(result.parts[0])}


def test_documents_beside_parts_are_bounded_too(settings: LazySettings) -> None:
    settings.TOOL_RESULT_CHARS = 1000
    shown = [document("own", "o" * 600), document("long", "l" * 600), document("cited", "c" * 600)]
    result = results.of([TextPart("short"), TextPart("brief")], shown)
    assert [one.content["text"] for one in result.documents] == ["o" * 600, "brief"]
    beside = results.of([TextPart("answer")], [document("own"), *[document(f"{n}", "c" * 300) for n in range(9)]])
    assert [one.source_name for one in beside.documents] == ["own", "0", "1", "2"]


def test_a_lone_part_is_the_call_itself_and_several_are_counted() -> None:
    lone = results.identified(results.of([TextPart("one")], [document("n")]), "call", cites=False)
    assert [(document.tool_use_id, document.source_id) for document in lone.documents] == [("call", "call")]
    several = results.identified(results.of([TextPart("one"), TextPart("two")]), "call", cites=False)
    assert [document.source_id for document in several.documents] == ["call@0", "call@1"]
    assert several.parts == (TextPart("one"), TextPart("two"))


def test_documents_beside_the_only_part_have_ids_of_their_own() -> None:
    result = results.of([TextPart("answer")], [document("a"), document("cited", "c")])
    assert [document.source_id for document in results.identified(result, "call", cites=True).documents] == [
        "call",
        "call@1",
    ]


def test_a_model_that_shall_cite_reads_the_ids_of_sources() -> None:
    result = results.of([TextPart("Chunk one text"), JsonPart({"a": 1})])
    assert results.identified(result, "tooluse_1", cites=True).parts == (
        JsonPart({"source_id": "tooluse_1@0", "content": "Chunk one text"}),
        JsonPart({"source_id": "tooluse_1@1", "content": {"a": 1}}),
    )


@pytest.mark.parametrize("outcome", ["failed", "busy", "empty"])
def test_an_error_is_one_sentence_with_a_document(outcome: results.Outcome) -> None:
    result = results.error("bedrock_agent", "It failed.", outcome)
    assert (result.status, result.parts, result.outcome) == ("error", (TextPart("It failed."),), outcome)
    (shown,) = results.identified(result, "call", cites=False).documents
    assert (shown.source_id, shown.source_name, shown.source_link) == ("call", "bedrock_agent", None)
    assert shown.content == {"text": "It failed."}
