"""Errands run on threads without a database, and ask the thread that owns the lanes for what only that may do."""

import threading
from typing import Any

import pytest

from bedrock_chat.process.interruption import Interrupted
from bots.knowledge.lanes import AT_ONCE, Lanes, Work

SECONDS = 10.0


def finish(lanes: Lanes) -> None:
    while lanes:
        lanes.step(SECONDS)


def test_what_an_errand_asks_is_answered_by_the_owner_of_the_lanes() -> None:
    lanes = Lanes()
    answers: list[str] = []

    def work() -> Work:
        name: str = yield lambda: lanes.ask(lambda: threading.current_thread().name)
        answers.append(name)

    for _ in range(AT_ONCE):
        lanes.begin(work())
    finish(lanes)
    lanes.close()
    assert answers == [threading.current_thread().name] * AT_ONCE


def test_an_interruption_is_the_asker_s_and_any_other_error_the_owner_s() -> None:
    ended: list[str] = []

    def work(lanes: Lanes, error: Exception) -> Work:
        def question() -> Any:
            raise error

        try:
            yield lambda: lanes.ask(question)
        except Interrupted:
            ended.append(type(error).__name__)

    lanes = Lanes()
    lanes.begin(work(lanes, Interrupted()))
    finish(lanes)
    assert ended == ["Interrupted"]
    lanes.begin(work(lanes, ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        finish(lanes)
    lanes.close()
    assert ended == ["Interrupted", "ZeroDivisionError"]


def test_lanes_that_are_closed_answer_nobody_and_wait_for_nobody() -> None:
    lanes = Lanes()
    ended: list[int] = []

    def work(number: int) -> Work:
        try:
            yield lambda: lanes.ask(lambda: 1 / 0)
        except Interrupted:
            ended.append(number)

    for number in range(AT_ONCE):
        lanes.begin(work(number))
    with pytest.raises(ZeroDivisionError):
        finish(lanes)
    lanes.close()
    assert sorted(ended) == list(range(AT_ONCE))
    with pytest.raises(Interrupted):
        lanes.ask(lambda: None)
