"""How hits are shown."""

import pytest

from bedrock_chat.search.highlights import FRAGMENT, fragments, marked
from bedrock_chat.search.query import Phrase, Term, parse


@pytest.mark.parametrize(
    ("text", "query", "expected"),
    [
        ("Draining nodes", "nodes", "Draining <em>nodes</em>"),
        ("Größe der Straße", "strasse", "Größe der <em>Straße</em>"),
        ("東京都庁へ行く", "京都", "東<em>京都</em>庁へ行く"),
        ("東京都庁へ行く", "東京都庁", "<em>東京都庁</em>へ行く"),
        ("東京都庁へ行く", "都", "東京<em>都</em>庁へ行く"),
        ("ｶﾞｲﾄﾞ", "ガイ", "<em>ｶﾞｲ</em>ﾄﾞ"),
        ("ｶﾞｲﾄﾞ", "ド", "ｶﾞｲ<em>ﾄﾞ</em>"),
        ("user_id and id", "user_id", "<em>user_id</em> and id"),
        ("two  \n lines", "lines", "two <em>lines</em>"),
        ('<b>bold</b> & "so" it\'s', "bold", '&lt;b&gt;<em>bold</em>&lt;/b&gt; &amp; "so" it\'s'),
        ("<em>already</em>", "em", "&lt;<em>em</em>&gt;already&lt;/<em>em</em>&gt;"),
    ],
)
def test_what_was_found_is_marked_and_the_rest_escaped(text: str, query: str, expected: str) -> None:
    assert marked(text, parse(query)) == expected
    assert fragments(text, parse(query), most=1) == [expected]


def test_what_holds_nothing_of_the_query_has_no_fragment() -> None:
    assert marked("Draining nodes", parse("node")) is None
    assert fragments("Draining nodes", parse("node"), most=3) == []


def test_every_alternative_is_marked() -> None:
    term = Term((Phrase(("node",)), Phrase(("nodes",)), Phrase(("nodal",))))
    assert marked("nodes are nodal", [term]) == "<em>nodes</em> are <em>nodal</em>"


def test_overlapping_places_are_marked_once() -> None:
    assert marked("東京都", parse("東京 京都")) == "<em>東京都</em>"


def test_a_long_text_is_shown_in_fragments_that_begin_and_end_with_words() -> None:
    text = "filler " * 100 + "first needle here " + "filler " * 100 + "another needle there"
    shown = fragments(text, parse("needle"), most=3)
    assert len(shown) == 2
    for fragment in shown:
        plain = fragment.replace("<em>", "").replace("</em>", "")
        assert len(plain) <= FRAGMENT + 20
        assert set(plain.split()) <= {"filler", "first", "needle", "here", "another", "there"}


def test_the_fragments_with_most_of_the_query_are_shown() -> None:
    filler = "filler " * 100
    text = f"alpha {filler} beta {filler} alpha beta {filler} alpha"
    (shown,) = fragments(text, parse("alpha beta"), most=1)
    assert "<em>alpha</em> <em>beta</em>" in shown


def test_a_text_without_blanks_is_cut_all_the_same() -> None:
    text = "あ" * 500 + "東京" + "い" * 500
    (shown,) = fragments(text, parse("東京"), most=1)
    assert "<em>東京</em>" in shown
    assert len(shown) < FRAGMENT + 40


def test_a_cut_leaves_a_character_whole() -> None:
    text = "e\u0301" * 40 + " needle " + "e\u0301" * 200
    (shown,) = fragments(text, parse("needle"), most=1)
    assert not shown.startswith("\u0301")
    assert shown.replace("<em>", "").replace("</em>", "").strip() in text
