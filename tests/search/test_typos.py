"""Corrections of mistyped words."""

import pytest

from bedrock_chat.search.typos import corrections

VOCABULARY = {"kubernetes", "python", "piston", "tokyo", "town", "gpt4", "2024", "house", "mouse", "größe", "हिन्दी"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("kubernets", ["kubernetes"]),
        ("kubenretes", ["kubernetes"]),
        ("kubrnets", ["kubernetes"]),
        ("kbrnets", []),
        ("pyhton", ["python"]),
        ("pithon", ["python"]),
        ("toyko", ["tokyo"]),
        ("tokoy", ["tokyo"]),
        ("toyk", []),
        ("tow", ["town"]),
        ("to", []),
        ("youse", ["house", "mouse"]),
        ("हिन्दि", ["हिन्दी"]),
    ],
)
def test_one_letter_of_a_short_word_and_two_of_a_long_one_may_be_wrong(word: str, expected: list[str]) -> None:
    assert corrections(word, VOCABULARY) == expected


def test_the_nearest_words_alone_are_meant() -> None:
    assert corrections("pistin", {"piston", "pistol", "python"}) == ["piston"]


@pytest.mark.parametrize("word", ["2023", "gpt5", "gpt3"])
def test_numbers_are_never_corrected(word: str) -> None:
    assert corrections(word, VOCABULARY) == []


def test_nothing_is_corrected_to_a_number() -> None:
    assert corrections("gpts", VOCABULARY) == []
