"""Chunks become passages: neighbours are one, what says the same is one, and results stay within their bounds."""

from dataclasses import replace

from bots.knowledge import joining
from bots.knowledge.joining import Piece, Window, stretch


def piece(position: int, text: str, start: int, **fields: object) -> Piece:
    one = Piece((position,), 1, 1, position, position, None, text, start, start + len(text), False, 0.5, 0.5, 0.0)
    return replace(one, **fields)  # type: ignore[arg-type]


def texts(pieces: list[Piece]) -> list[str]:
    return [one.text for one in pieces]


def test_neighbours_stand_in_the_place_of_the_best_and_say_an_overlap_once() -> None:
    first, second, third = piece(0, "one two ", 0), piece(1, "two three", 4, score=0.9), piece(2, "four", 15)
    other = piece(0, "other", 0, edition=2, document=2, score=0.7)
    (joined, kept) = joining.joined([second, other, third, first], 1_000)
    assert (joined.text, joined.chunks, joined.score) == ("one two three\nfour", (0, 1, 2), 0.9)
    assert kept == other


def test_what_is_no_neighbour_stays_apart() -> None:
    pages = [piece(0, "one", 0, page=1), piece(1, "two", 0, page=2)]
    assert joining.joined(pages, 1_000) == pages
    gap = [piece(0, "one", 0), piece(2, "three", 9)]
    assert joining.joined(gap, 1_000) == gap
    parents = [piece(0, "one", 0, is_parent=True), piece(1, "two", 4, is_parent=True)]
    assert joining.joined(parents, 1_000) == parents
    assert joining.joined([piece(0, "one", 0), piece(1, "two", 4)], 6) == [piece(0, "one", 0), piece(1, "two", 4)]


def test_pieces_are_taken_whole_while_they_fit_and_the_first_is_cut_to_fit() -> None:
    pieces = [piece(0, "a" * 40, 0), piece(2, "b" * 40, 0), piece(4, "c", 0)]
    assert texts(list(joining.fitting(pieces, 80, None))) == ["a" * 40, "b" * 40]
    assert texts(list(joining.fitting(pieces, 60, None))) == ["a" * 40]
    assert texts(list(joining.fitting(pieces, 10, None))) == ["a" * 10]
    assert texts(list(joining.fitting(pieces, 100, 5))) == ["a" * 20]
    assert texts(joining.distinct([piece(0, "same", 0), piece(3, " same\n", 0, document=2), piece(5, "x", 0)])) == [
        "same",
        "x",
    ]


def test_windows_of_a_document_become_its_text_as_far_as_there_is_room() -> None:
    windows = [Window(0, 1, "One.", 0, 4), Window(1, 1, "Two.", 6, 10), Window(2, 2, "Three.", 0, 6)]
    assert stretch(windows, 100) == ("One.\nTwo.\n\nThree.", 2)
    assert stretch(windows, len("One.\nTwo.\n\nThree.") - 1) == ("One.\nTwo.", 1)
    assert stretch(windows, 2) == ("One.", 0)  # the first one in any case: whoever takes it cuts it
    assert stretch([Window(0, None, "One.", 0, 4), Window(1, None, "Two.", 4, 8)], 100) == ("One.Two.", 1)
    assert stretch([], 100) == ("", -1)
