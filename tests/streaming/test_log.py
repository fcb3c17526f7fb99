"""The log of a turn: every listener gets all events in order, at its own pace, and none waits for another."""

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.bedrock.events import ReasoningDelta, TextDelta, ToolUse
from conversations.streaming.events import Encoded, Failed, MessageStop, StreamEvent, encoded, joined
from conversations.streaming.log import LARGEST_BATCH, Log

END = MessageStop("c", "q", "a", "end_turn", None)
ERROR = Failed({"detail": "no", "errors": ["no"]}, 500)


def texts(count: int) -> list[Any]:
    return [TextDelta(f"{number} ") for number in range(count)]


async def read(log: Log, offset: int = 0, *, pause: float = 0.0) -> list[Any]:
    events: list[Any] = []
    async for first, batch in log.follow(offset):
        assert first == offset + len(events)
        events += batch
        await asyncio.sleep(pause)
    return events


def filled(*events: StreamEvent) -> Log:
    log = Log()
    for event in events:
        log.append(event)
    return log


def test_who_comes_late_gets_everything() -> None:
    assert asyncio.run(read(filled(*texts(3), END))) == [*texts(3), END]


def test_who_comes_back_gets_what_was_missed() -> None:
    assert asyncio.run(read(filled(*texts(3), END), 2)) == [TextDelta("2 "), END]


def test_nothing_is_told_after_the_end() -> None:
    log = filled(END)
    log.append(TextDelta("late"))
    log.append(ERROR)
    assert log.events == [END]


def test_fifty_listeners_hear_all_that_a_thread_tells_as_it_comes() -> None:
    log, events = Log(), [*texts(500), END]

    def tell() -> None:
        for number, event in enumerate(events):
            log.append(event)
            if number % 10 == 0:
                time.sleep(0.001)

    async def listen() -> list[list[Any]]:
        teller = threading.Thread(target=tell)
        teller.start()
        event_lists = await asyncio.gather(*(read(log, pause=0.0001 * (number % 5)) for number in range(50)))
        await asyncio.to_thread(teller.join)
        return event_lists

    assert asyncio.run(asyncio.wait_for(listen(), 30)) == [events] * 50


def test_a_slow_listener_gets_in_one_go_what_has_gathered() -> None:
    async def listen() -> list[int]:
        log, sizes = filled(*texts(1)), []
        async for _, batch in log.follow():
            sizes.append(len(batch))
            if len(sizes) == 1:
                for event in (*texts(LARGEST_BATCH + 10), END):
                    log.append(event)
        return sizes

    assert asyncio.run(listen()) == [1, LARGEST_BATCH, 11]


def test_silence_is_told_and_the_listener_goes_on() -> None:
    async def listen() -> list[int]:
        log, sizes = Log(), []
        async for _, batch in log.follow(quiet_seconds=0.02):
            sizes.append(len(batch))
            if len(sizes) == 2:
                log.append(END)
        return sizes

    assert asyncio.run(listen()) == [0, 0, 1]


def test_a_listener_who_leaves_leaves_nothing_behind() -> None:
    async def leave() -> Log:
        log = Log()
        listeners = [asyncio.create_task(read(log)) for _ in range(20)]
        await asyncio.sleep(0.01)
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        return log

    log = asyncio.run(leave())
    assert not log._waiting
    log.append(END)


def test_a_loop_that_has_ended_is_nobodys_trouble() -> None:
    log = Log()

    async def wait_a_little() -> None:
        await asyncio.wait_for(anext(log.follow(quiet_seconds=0.01)), 1)

    asyncio.run(wait_a_little())
    loop = asyncio.new_event_loop()
    log._waiting[loop.create_future()] = loop
    loop.close()
    log.append(END)
    assert log.ended


@pytest.mark.parametrize("last", [END, ERROR, Encoded("message_stop", {}), Encoded("error", {})])
def test_a_stop_or_an_error_is_the_end(last: StreamEvent) -> None:
    assert filled(last).ended


# ---- Joining --------------------------------------------------------------------------------------------------------

JOINED = (TextDelta, ReasoningDelta)
EVENTS = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text(max_size=3), st.integers(0, 2)),
        st.builds(ReasoningDelta, st.text(max_size=3)),
        st.just(ToolUse("t", "x", {})),
    ),
    max_size=12,
)


def text_of(events: list[Any], kind: type) -> str:
    return "".join(event.text for event in events if isinstance(event, kind))


@given(EVENTS, st.integers(0, 1000))
def test_joining_loses_nothing_and_keeps_the_order(events: list[Any], first: int) -> None:
    positions, joint = zip(*joined(first, events), strict=True) if events else ((), ())
    assert [event for event in joint if not isinstance(event, JOINED)] == [
        event for event in events if not isinstance(event, JOINED)
    ]
    for kind in JOINED:
        assert text_of(list(joint), kind) == text_of(events, kind)
    assert all(type(a) is not type(b) for a, b in itertools.pairwise(joint) if isinstance(a, JOINED))
    assert list(positions) == sorted(set(positions))
    assert not positions or positions[-1] == first + len(events)


@given(EVENTS, st.data())
def test_a_client_can_go_on_from_any_position_it_was_told(events: list[Any], data: Any) -> None:
    joint = list(joined(0, events))
    if not joint:
        return
    seen = data.draw(st.integers(0, len(joint) - 1))
    position = joint[seen][0]
    rest = list(joined(position, events[position:]))
    everything = "".join(str(encoded(event)) for _, event in [*joint[: seen + 1], *rest])
    assert everything == "".join(str(encoded(event)) for _, event in joint)
