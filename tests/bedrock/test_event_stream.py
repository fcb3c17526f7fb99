"""Our decoder of event streams yields what botocore's yields, however the bytes arrive, and rejects broken frames."""

import contextlib
import struct
import zlib
from itertools import pairwise
from typing import Any

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from bedrock_chat.bedrock import clients, event_stream, faults, runtime
from bedrock_chat.bedrock.converse_calls import ConverseCalls
from tests.bedrock.asking import ask
from tests.bedrock.boto import boto, user
from tests.bedrock.scripted import HELLO, ScriptedBedrock, Stream, delta, exception, frame, reasoning
from tests.emulator import Emulator

WHOLE = b"".join((*HELLO[:1], delta("ひとつ"), delta("two", 1), *HELLO[3:]))


def cut(data: bytes, at: list[int]) -> list[bytes]:
    edges = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, len(WHOLE)), max_size=12))
def test_frames_do_not_depend_on_where_the_bytes_were_cut(at: list[int]) -> None:
    assert list(event_stream.decode(cut(WHOLE, at))) == list(event_stream.decode([WHOLE]))


@pytest.mark.parametrize(
    "prompt", ["hello [[words:40]]", "[[reasoning]] hm", "[[redacted]] hm", "[[empty]]", "[[max_tokens]]", "日本語"]
)
def test_botocore_reads_the_same_from_the_same_stream(emulator: Emulator, prompt: str) -> None:
    def stream() -> Any:
        response = boto(emulator).converse_stream(
            modelId="anthropic.claude-3-7-sonnet-20250219-v1:0", messages=[user(prompt)]
        )
        return response["stream"]

    theirs = [event for event in stream() if "metadata" not in event]
    ours = [event for event in event_stream.decode(stream()._raw_stream.stream()) if "metadata" not in event]
    assert list(runtime.answers.read_stream(ours, lambda: None)) == list(
        runtime.answers.read_stream(theirs, lambda: None)
    )
    assert [list(event) for event in ours] == [list(event) for event in theirs]


def test_the_test_s_own_frames_are_frames_to_botocore() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(WHOLE)
    assert len(list(buffer)) == len(list(event_stream.decode([WHOLE])))


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_a_flipped_byte_never_passes(position: int, flip: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[position] ^= flip
    intact = list(event_stream.decode([WHOLE]))
    seen = []
    with contextlib.suppress(faults.Unreadable):
        for decoded in event_stream.decode([bytes(damaged)]):
            seen.append(decoded)  # noqa: PERF402  list() would lose the frames before the fault
    assert seen == intact[: len(seen)]
    assert len(seen) < len(intact)


def test_an_exception_is_raised_after_what_came_before_it() -> None:
    decoded = event_stream.decode([HELLO[0] + exception("throttlingException", "Too fast.")])
    assert next(decoded) == {"messageStart": {"role": "assistant"}}
    with pytest.raises(faults.Throttled):
        next(decoded)


def test_headers_of_every_type_are_passed_over() -> None:
    flags = (
        b"\x01a\x00" + b"\x01b\x02\x07" + b"\x01c\x05" + bytes(8) + b"\x01d\x06\x00\x02xx" + b"\x01e\x09" + bytes(16)
    )
    named = frame({":event-type": "messageStop", ":message-type": "event"}, b"{}")
    headers_length = int.from_bytes(named[4:8])
    headers = flags + named[12 : 12 + headers_length]
    prelude = struct.pack(">II", 16 + len(headers) + 2, len(headers))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + b"{}"
    message += struct.pack(">I", zlib.crc32(message))
    assert list(event_stream.decode([message])) == [{"messageStop": {}}]


@pytest.mark.parametrize(
    "broken",
    [
        frame({":event-type": "messageStop", ":message-type": "event"}, b"no JSON"),
        frame({":event-type": "messageStop", ":message-type": "event"}, b"{}")[:-1] + b"\0",
        b"\0\0\0\x0f" + bytes(12),
    ],
)
def test_what_is_no_frame_is_unreadable(broken: bytes) -> None:
    with pytest.raises(faults.Unreadable):
        list(event_stream.decode([broken]))


def test_redacted_reasoning_arrives_as_bytes(bedrock: ScriptedBedrock) -> None:
    bedrock.play(Stream((HELLO[0], reasoning({"redactedContent": "AAE="}, 0), *HELLO[1:])))
    assert any(getattr(event, "data", None) == b"\x00\x01" for event in ask(stream=True))


def test_where_botocore_hides_the_body_its_own_parser_reads_it(
    bedrock: ScriptedBedrock, monkeypatch: pytest.MonkeyPatch
) -> None:
    bedrock.play(Stream(HELLO))
    with_ours = ask(stream=True)
    client = clients.bedrock_runtime()
    monkeypatch.setattr(clients, "converse_calls", lambda: ByBotocore(client))
    monkeypatch.setattr(runtime, "_frames", lambda events: events)
    assert ask(stream=True)[:-1] == with_ours[:-1] != []


class ByBotocore(ConverseCalls):
    """Calls that botocore makes, whatever they are like."""

    def _send(self, *_: Any) -> None:
        return None
