"""The log of a turn: everybody gets everything in order, at their own pace, and nobody waits for anybody."""

import asyncio
import itertools
import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conversations.streaming.events import JOINED, joined
from conversations.streaming.log import LARGEST_BATCH, Log

END = ("message_stop", {})


def texts(count: int) -> list[Any]:
    return [("text", f"{number} ") for number in range(count)]


async def read(log: Log, offset: int = 0, *, pause: float = 0.0) -> list[Any]:
    found: list[Any] = []
    async for first, batch in log.follow(offset):
        assert first == offset + len(found)
        found += batch
        await asyncio.sleep(pause)
    return found


def filled(*pieces: Any) -> Log:
    log = Log()
    for piece in pieces:
        log.append(piece)
    return log


def test_who_comes_late_gets_everything() -> None:
    assert asyncio.run(read(filled(*texts(3), END))) == [*texts(3), END]


def test_who_comes_back_gets_what_was_missed() -> None:
    assert asyncio.run(read(filled(*texts(3), END), 2)) == [("text", "2 "), END]


def test_nothing_is_told_after_the_end() -> None:
    log = filled(END)
    log.append(("text", "late"))
    log.append(("error", {}))
    assert log.pieces == [END]


def test_fifty_listeners_hear_all_that_a_thread_tells_as_it_comes() -> None:
    log, told = Log(), [*texts(500), END]

    def tell() -> None:
        for number, piece in enumerate(told):
            log.append(piece)
            if number % 10 == 0:
                time.sleep(0.001)

    async def listen() -> list[list[Any]]:
        teller = threading.Thread(target=tell)
        teller.start()
        heard = await asyncio.gather(*(read(log, pause=0.0001 * (number % 5)) for number in range(50)))
        await asyncio.to_thread(teller.join)
        return heard

    assert asyncio.run(asyncio.wait_for(listen(), 30)) == [told] * 50


def test_a_slow_listener_gets_in_one_go_what_has_gathered() -> None:
    async def listen() -> list[int]:
        log, sizes = filled(*texts(1)), []
        async for _, batch in log.follow():
            sizes.append(len(batch))
            if len(sizes) == 1:
                for piece in (*texts(LARGEST_BATCH + 10), END):
                    log.append(piece)
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


@pytest.mark.parametrize("last", ["message_stop", "error"])
def test_a_stop_or_an_error_is_the_end(last: str) -> None:
    assert filled((last, {})).ended


# ---- Joining --------------------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["text", "reasoning"]), st.text(max_size=3)),
        st.tuples(st.just("tool_use"), st.just({"name": "x"})),
    ),
    max_size=12,
)


@given(PIECES, st.integers(0, 1000))
def test_joining_loses_nothing_and_keeps_the_order(pieces: list[Any], first: int) -> None:
    told = list(joined(first, pieces))
    assert [kind for _, kind, _ in told if kind not in JOINED] == [kind for kind, _ in pieces if kind not in JOINED]
    for name in JOINED:
        assert "".join(data for _, kind, data in told if kind == name) == "".join(
            data for kind, data in pieces if kind == name
        )
    assert all(a[1] != b[1] for a, b in itertools.pairwise(told) if a[1] in JOINED)
    assert [position for position, _, _ in told] == sorted({position for position, _, _ in told})
    assert not told or told[-1][0] == first + len(pieces)


@given(PIECES, st.data())
def test_a_client_can_go_on_from_any_position_it_was_told(pieces: list[Any], data: Any) -> None:
    told = list(joined(0, pieces))
    if not told:
        return
    seen = data.draw(st.integers(0, len(told) - 1))
    position = told[seen][0]
    rest = list(joined(position, pieces[position:]))
    everything = "".join(str(piece[2]) for piece in [*told[: seen + 1], *rest])
    assert everything == "".join(str(piece[2]) for piece in told)
