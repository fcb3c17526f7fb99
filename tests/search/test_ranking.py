"""Which of several answers is the best."""

from bedrock_chat.search.index import words_of
from bedrock_chat.search.query import Phrase, Term, parse
from bedrock_chat.search.ranking import HEADING, Candidate, rank


def candidates(*rows: tuple[int, int, str]) -> list[Candidate]:
    """Candidates of which each row gives group, key and text, the oldest first."""
    return [Candidate(number, group, key, words_of(text)) for number, (group, key, text) in enumerate(rows)]


def order(query: str, *rows: tuple[int, int, str], every: bool = True) -> list[int]:
    return [hit.group for hit in rank(candidates(*rows), parse(query), every=every)]


FILLER = "and so on with many other words that nobody asked for"


def test_a_title_weighs_more_than_a_message() -> None:
    assert order("vacuum", (1, HEADING, f"vacuum {FILLER}"), (2, 7, f"vacuum vacuum {FILLER}")) == [1, 2]


def test_a_text_that_says_it_more_often_is_better() -> None:
    assert order("vacuum", (1, 7, f"vacuum the vacuum {FILLER}"), (2, 8, f"vacuum the house {FILLER}")) == [1, 2]


def test_a_short_text_about_it_is_better_than_a_long_one() -> None:
    assert order("vacuum", (1, 7, "vacuum it"), (2, 8, f"vacuum {FILLER * 20}")) == [1, 2]


def test_words_in_the_order_of_the_query_are_better() -> None:
    assert order("drain node", (1, 7, "drain node now"), (2, 8, "node now drain")) == [1, 2]


def test_of_equals_the_newer_comes_first() -> None:
    assert order("vacuum", (1, 7, "vacuum"), (2, 8, "vacuum"), (3, 9, "vacuum")) == [3, 2, 1]


def test_a_group_comes_once_with_its_best_document_first() -> None:
    rows = candidates((1, 7, f"vacuum {FILLER}"), (1, 8, "vacuum vacuum"), (1, HEADING, "vacuum"), (2, 9, "vacuum"))
    hits = rank(rows, parse("vacuum"), every=True)
    assert [(hit.group, hit.keys) for hit in hits] == [(1, (HEADING, 8, 7)), (2, (9,))]


def test_tokens_that_do_not_follow_one_another_are_no_phrase() -> None:
    assert order("東京都", (1, 7, "東京と京都"), (2, 8, "東京都庁")) == [2]
    assert order("user_id", (1, 7, "id of the user"), (2, 8, "the user_id")) == [2]


def test_a_single_character_is_found_anywhere_in_a_run() -> None:
    assert sorted(order("京", (1, 7, "京都"), (2, 8, "東京"), (3, 9, "東京都"), (4, 10, "大阪"))) == [1, 2, 3]


def test_what_was_asked_for_is_better_than_what_may_have_been_meant() -> None:
    term = Term((Phrase(("node",)), Phrase(("nodes",))))
    assert [hit.group for hit in rank(candidates((1, 7, "a node"), (2, 8, "a nodes")), [term], every=True)] == [1, 2]


def test_some_of_the_words_do_where_nothing_holds_all() -> None:
    rows = [(1, 7, "alpha beta"), (2, 8, "alpha"), (3, 9, "gamma"), (4, 10, "delta")]
    assert order("alpha beta gamma", *rows, every=False)[0] == 1
    assert 4 not in order("alpha beta gamma", *rows, every=False)


def test_words_of_a_group_count_together() -> None:
    rows = [(1, 7, "alpha"), (1, 8, "beta"), (2, 9, "alpha alpha alpha"), (2, 10, "alpha")]
    assert order("alpha beta", *rows, every=False)[0] == 1


def test_too_few_of_the_words_are_no_answer() -> None:
    assert order("alpha beta gamma delta", (1, 7, "alpha"), every=False) == []


def test_nothing_is_ranked_where_there_is_nothing() -> None:
    assert rank([], parse("alpha"), every=True) == []
    assert rank([], parse("alpha"), every=False) == []
