"""The text of a query, as terms."""

import string

import pytest

from bedrock_chat.search.query import MOST_TOKENS, Phrase, parse, single_tokens
from bedrock_chat.search.tokenizer import is_symbol


def phrases(query: str) -> list[Phrase]:
    return [term.alternatives[0] for term in parse(query)]


@pytest.mark.parametrize(
    ("query", "needles"),
    [
        ("hello world", [" hello ", " world "]),
        ("hello Hello", [" hello "]),
        ("user_id e-mail v3.7", [" user id ", " e mail ", " v3 7 "]),
        ("a@b.example/c", [" a b example c "]),
        ("one,two;three", [" one ", " two ", " three "]),
        ("東京都", [" 東京 京都 "]),
        ("東京、大阪", [" 東京 ", " 大阪 "]),
        ("AWSの料金", [" aws の料 料金 "]),
        ("東京AWS", [" 東京 京 aws "]),
        ("?!…", []),
    ],
)
def test_what_stands_together_is_looked_for_together(query: str, needles: list[str]) -> None:
    assert [phrase.needle for phrase in phrases(query)] == needles


@pytest.mark.parametrize("query", ["猫", "AWSの", "ｶﾞ"])
def test_a_single_character_may_begin_any_pair(query: str) -> None:
    (phrase,) = phrases(query)
    assert phrase.open
    assert not phrase.needle.endswith(" ")


@pytest.mark.parametrize(
    "query",
    [
        '"exact phrase"',
        "a AND b OR NOT c",
        "near(a b, 2)",
        "col:word*",
        "^first",
        "'; DROP TABLE x --",
        "a & b | !c <-> d",
    ],
)
def test_nothing_in_a_query_is_an_operator(query: str) -> None:
    tokens = [token for phrase in phrases(query) for token in phrase.tokens]
    assert all(token.isalnum() or is_symbol(token) for token in tokens)
    assert not set("".join(tokens)) & set(string.punctuation)


@pytest.mark.parametrize("query", ["word " * 10_000, "東" * 10_000, "a.b-" * 10_000, " ".join(map(str, range(10_000)))])
def test_of_a_very_long_query_the_beginning_counts(query: str) -> None:
    assert 1 <= sum(len(phrase.tokens) for phrase in phrases(query)) <= MOST_TOKENS


def test_a_query_can_be_taken_apart() -> None:
    assert [term.alternatives[0].needle for term in single_tokens(parse("user_id 東京都 id"))] == [
        " user ",
        " id ",
        " 東京 ",
        " 京都 ",
    ]
