"""How text becomes tokens: what a reader would call the same word is the same token."""

import string
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_chat.search.tokenizer import LONGEST_TOKEN, tokens


def texts(text: str) -> list[str]:
    return [token.text for token in tokens(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("café naïve", "cafe naive"),
        ("cafe\u0301", "cafe"),
        ("Straße STRASSE", "strasse strasse"),
        ("İstanbul ISTANBUL ıstanbul", "istanbul istanbul istanbul"),
        ("Œuvre, æther, łódź, smørrebrød", "oeuvre aether lodz smorrebrod"),
        ("Ёлка ёлка", "елка елка"),
        ("ΣΊΣΥΦΟΣ Σίσυφος", "σισυφοσ σισυφοσ"),
        ("مُحَمَّد محمد", "محمد محمد"),
        ("हिन्दी में", "हिन्दी में"),
        ("ＡＢＣ ﬁle Ⅷ", "abc file viii"),
        ("user_id, e-mail; v3.7 C++", "user id e mail v3 7 c ＋ ＋"),
        ("so\u00adft hy\u200dphen", "soft hyphen"),
        ("👍🏽 ok 🦄 ❤\ufe0f", "👍 🏽 ok 🦄 ❤"),
        ("$5 < 6€ ＋ ⁺ ﹢ ´ ℃", "＄ 5 ＜ 6 € ＋ ＋ ＋ ´ ℃"),
        ("½ ﷺ", "12 صلىاللهعليهوسلم"),
        ("\x00\ud800 a\udfff \x7f", "a"),
        ("", ""),
    ],
)
def test_words_are_folded(text: str, expected: str) -> None:
    assert texts(text) == expected.split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("東京都", "東京 京都 都"),
        ("東京、大阪", "東京 京 大阪 阪"),
        ("猫", "猫"),
        ("한국어 검색", "한국 국어 어 검색 색"),
        ("ｶﾞｷﾞ", "ガギ ギ"),
        ("カ\u3099", "ガ"),
        ("\u1112\u1161\u11ab\u1100\u116e\u11a8", "한국 국"),
        ("AWSの料金", "aws の料 料金 金"),
        ("データベース", "デー ータ タベ ベー ース ス"),
        ("สวัสดี", "สวั วัส สดี ดี"),
        ("北京𠀋", "北京 京𠀋 𠀋"),
        ("葛\U000e0100飾", "葛飾 飾"),
        ("ゟ", "より り"),
    ],
)
def test_scripts_without_blanks_are_cut_into_pairs(text: str, expected: str) -> None:
    assert texts(text) == expected.split()


def test_a_token_knows_where_it_stands() -> None:
    text = "Ｔｏｋｙｏは東京です。ｶﾞｲﾄﾞ Cafe\u0301!"
    stands = {token.text: text[token.start : token.end] for token in tokens(text)}
    assert stands["tokyo"] == "Ｔｏｋｙｏ"
    assert stands["東京"] == "東京"
    assert stands["ガイ"] == "ｶﾞｲ"
    assert stands["cafe"] == "Cafe\u0301"


def test_a_pair_knows_the_character_it_begins_with() -> None:
    assert [token.first for token in tokens("東京都 tokyo 駅")] == ["東", "京", "都", "", "駅"]


def test_what_is_too_long_for_a_word_is_found_by_its_beginning() -> None:
    assert texts("a" * 1000) == ["a" * LONGEST_TOKEN]
    assert texts("é" * 1000) == ["e" * LONGEST_TOKEN]


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.text(max_size=80))
def test_whatever_a_text_holds_its_tokens_are_sound(text: str) -> None:
    before = 0
    for token in tokens(text):
        assert len(token.text) > 0
        assert not set(token.text) & {*string.whitespace, *string.punctuation, "\0"}
        assert before <= token.start < token.end <= len(text)
        assert token.text.startswith(token.first)
        before = token.start


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.text(alphabet=st.sampled_from("aÉß ñ_-.東京かｶﾞー한글\u3099\u0301नि\u200d0"), max_size=30))
def test_case_accents_and_width_change_nothing(text: str) -> None:
    import unicodedata

    assert texts(unicodedata.normalize("NFD", text)) == texts(text)
    assert texts(unicodedata.normalize("NFKC", text)) == texts(text)
    assert texts(text.upper()) == texts(text)


SYMBOLS = st.characters(categories=["S"])
WORDS = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=6)


@given(st.lists(SYMBOLS | WORDS | st.text(max_size=4), max_size=8))
@settings(max_examples=300)
def test_every_symbol_of_a_text_is_a_token_and_no_punctuation_is(parts: list[str]) -> None:
    token_texts = texts(" ".join(parts))
    for part in parts:
        if len(part) == 1 and unicodedata.category(part)[0] == "S":
            assert texts(part)[0] in token_texts
    assert not [token for token in token_texts if unicodedata.category(token[0])[0] in "PZC"]


def test_every_symbol_that_unicode_has_is_a_token_by_itself() -> None:
    symbols = [character for character in map(chr, range(0x110000)) if unicodedata.category(character)[0] == "S"]
    assert len(symbols) > 7000
    assert {len(texts(symbol)) for symbol in symbols} == {1}
    assert [symbol for symbol in symbols if texts(f"a{symbol}b") != ["a", *texts(symbol), "b"]] == []
