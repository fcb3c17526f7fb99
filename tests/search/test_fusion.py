"""Two searches become one order: what scores what, and what never changes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedrock_chat.search.fusion import FIFTY, Words, fuse

keys = st.integers(1, 60)
similarities = st.dictionaries(keys, st.floats(-1, 1), max_size=60)
hits = st.dictionaries(keys, st.floats(0, 50), max_size=60)


def order(*fused: object, **words: object) -> list[int]:
    return [row.key for row in fuse(*fused, **words)]  # type: ignore[arg-type]


def test_the_best_similarity_counts_seven_tenths_and_the_fiftieth_nothing() -> None:
    similar = {key: 1 - key / 100 for key in range(1, 80)}
    scores = {row.key: row.score for row in fuse(similar)}
    assert scores[1] == 0.7
    assert scores[FIFTY] == scores[79] == 0
    assert scores[2] == 0.7 * (similar[2] - similar[50]) / (similar[1] - similar[50])


def test_of_fewer_than_fifty_the_last_counts_nothing() -> None:
    scores = {row.key: row.score for row in fuse({1: 0.9, 2: 0.7, 3: 0.5})}
    assert scores == pytest.approx({1: 0.7, 2: 0.35, 3: 0})


def test_equal_similarities_all_count_in_full() -> None:
    assert [row.score for row in fuse({1: 0.4, 2: 0.4})] == [0.7, 0.7]
    assert [row.score for row in fuse({9: 0.4})] == [0.7]


def test_words_count_three_tenths_of_what_the_query_could_score() -> None:
    (row,) = fuse({}, Words(((7, 5.0),), attainable=20.0))
    assert (row.key, row.score, row.similarity, row.words) == (7, 0.3 * 0.25, None, 0.25)


def test_a_passage_of_words_alone_is_scored_by_its_own_vector_too() -> None:
    words = Words(((3, 10.0),), attainable=10.0)
    first, *_ = fuse({1: 0.9, 2: 0.5, 3: 0.8}, words)
    assert (first.key, first.similarity) == (3, 0.8)
    assert first.score == 0.7 * (0.8 - 0.5) / (0.9 - 0.5) + 0.3


def test_an_identifier_goes_before_everything_else() -> None:
    words = Words(((1, 9.0), (3, 0.1)), attainable=9.0, identifiers=frozenset({3}))
    assert order({1: 1.0, 2: 0.5, 3: -1.0}, words) == [3, 1, 2]


def test_nothing_becomes_nothing() -> None:
    assert fuse({}) == fuse({}, Words(attainable=3.0)) == []


@settings(max_examples=150, deadline=None)
@given(similarities, hits)
def test_every_passage_of_both_searches_has_one_place_and_a_score_from_0_to_1(
    similar: dict[int, float], scores: dict[int, float]
) -> None:
    words = Words(tuple(scores.items()), attainable=max(scores.values(), default=0.0))
    fused = fuse(similar, words)
    assert sorted(row.key for row in fused) == sorted({*similar, *scores})
    assert all(0 <= row.score <= 1.0000001 for row in fused)
    assert [row.score for row in fused] == sorted((row.score for row in fused), reverse=True)
    assert fuse(dict(reversed(similar.items())), Words(tuple(reversed(words.hits)), words.attainable)) == fused


@settings(max_examples=100, deadline=None)
@given(similarities.filter(bool))
def test_without_words_the_order_is_that_of_the_similarities(similar: dict[int, float]) -> None:
    assert order(similar) == sorted(similar, key=lambda key: (-similar[key], key))
