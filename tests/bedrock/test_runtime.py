"""The calls to Bedrock: both kinds of call yield the same events, and retries are visible and come to an end."""

import threading
import time
from typing import Any

import pytest

from bedrock_chat.bedrock import clients, faults, runtime
from bedrock_chat.bedrock.events import (
    AnswerBuilder,
    Closed,
    Event,
    MessageStart,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Retrying,
    Stop,
    TextDelta,
    ToolUse,
    Usage,
)
from bedrock_chat.process.interruption import Interruption
from tests.bedrock.asking import ask, hello, kinds, request_to_model
from tests.bedrock.scripted import (
    HELLO,
    METADATA,
    START,
    Play,
    ScriptedBedrock,
    Stream,
    delta,
    exception,
    reasoning,
    refuses,
    says,
    stop,
    stop_block,
    tool_use,
)
from tests.emulator import Emulator

BOTH = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
USAGE = Usage(input_tokens=11, output_tokens=7, cache_read_tokens=3, cache_write_tokens=2)
THROTTLED = refuses("ThrottlingException", 429)


# ---- Both kinds of call ---------------------------------------------------------------------------------------------


def test_a_plain_call_yields_the_events_of_a_whole_answer(bedrock: ScriptedBedrock) -> None:
    bedrock.play(hello(stream=False))
    events = ask(stream=False)
    assert events[:-1] == [MessageStart(), TextDelta("Hello"), Stop("end_turn"), USAGE]
    assert bedrock.requests[0][0].endswith("/converse")


def test_a_listened_to_call_yields_the_answer_as_it_comes(bedrock: ScriptedBedrock) -> None:
    bedrock.play(hello(stream=True))
    events = ask(stream=True)
    assert events[:-1] == [MessageStart(), TextDelta("Hel"), TextDelta("lo"), Stop("end_turn"), USAGE]
    assert bedrock.requests[0][0].endswith("/converse-stream")


def test_where_tools_cannot_be_streamed_converse_stands_behind_the_stream(bedrock: ScriptedBedrock) -> None:
    bedrock.play(hello(stream=False))
    ask(request_to_model(streamable=False), stream=True)
    assert bedrock.requests[0][0].endswith("/converse")


def test_both_kinds_of_call_give_the_same_blocks_and_usage(bedrock: ScriptedBedrock) -> None:
    bedrock.play(
        says(
            {"reasoningContent": {"reasoningText": {"text": "Let me think.", "signature": "c2ln"}}},
            {"reasoningContent": {"redactedContent": "AAE="}},
            {"text": "One."},
            {"text": "Two."},
            {"toolUse": {"toolUseId": "tool-1", "name": "search", "input": {"q": "cats", "n": 2}}},
            stop_reason="tool_use",
        ),
        Stream(
            (
                START,
                reasoning({"text": "Let me "}, 0),
                reasoning({"text": "think."}, 0),
                reasoning({"signature": "c2ln"}, 0),
                stop_block(0),
                reasoning({"redactedContent": "AAE="}, 1),
                stop_block(1),
                delta("One.", 2),
                stop_block(2),
                delta("Tw", 3),
                delta("o.", 3),
                stop_block(3),
                tool_use('{"q": "ca', 'ts", "n"', ": 2}", index=4),
                stop("tool_use"),
                METADATA,
            )
        ),
    )
    whole, streamed = ask(stream=False), ask(stream=True)
    for kind in (ReasoningSignature, RedactedReasoning, ToolUse, Stop, Usage):
        assert [e for e in whole if isinstance(e, kind)] == [e for e in streamed if isinstance(e, kind)] != []
    assert ReasoningDelta("think.") in streamed
    builders = [AnswerBuilder(), AnswerBuilder()]
    for builder, events in zip(builders, (whole, streamed), strict=True):
        for event in events:
            builder.feed(event)
    assert builders[0].blocks() == builders[1].blocks()
    assert [next(iter(block)) for block in builders[0].blocks()] == [
        "reasoningContent",
        "reasoningContent",
        "text",
        "text",
        "toolUse",
    ]


@BOTH
def test_the_last_event_sums_the_call_up(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(hello(stream=stream))
    *before, closed = ask(stream=stream)
    assert isinstance(closed, Closed)
    assert (closed.usage, closed.stop_reason) == (USAGE, "end_turn")
    assert Closed not in kinds(before)
    assert 0 <= closed.latency_ms < 5_000
    assert (closed.first_token_ms is None) is not stream


def test_the_first_token_is_timed_apart_from_the_whole(bedrock: ScriptedBedrock) -> None:
    bedrock.play(Stream(HELLO))
    events = []
    for event in runtime.call(request_to_model(), stream=True):
        events.append(event)
        if isinstance(event, TextDelta):
            time.sleep(0.1)
    closed = events[-1]
    assert isinstance(closed, Closed)
    assert closed.first_token_ms is not None
    assert closed.latency_ms >= closed.first_token_ms + 200


@BOTH
def test_an_empty_answer_is_an_answer(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(Stream((START, stop(), METADATA)) if stream else says())
    assert kinds(ask(stream=stream)) == [MessageStart, Stop, Usage, Closed]


@BOTH
def test_an_answer_without_usage_is_an_answer(bedrock: ScriptedBedrock, stream: bool) -> None:
    bedrock.play(Stream(HELLO[:-1]) if stream else says({"text": "Hello"}, usage=None))
    closed = ask(stream=stream)[-1]
    assert isinstance(closed, Closed)
    assert closed.usage is None


# ---- Retries --------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    "refusal", [THROTTLED, refuses("ModelNotReadyException", 429), refuses("ServiceUnavailableException", 503)]
)
def test_a_call_refused_twice_is_answered_and_each_wait_is_told(
    bedrock: ScriptedBedrock, settings: Any, refusal: Play, stream: bool
) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(refusal, refusal, hello(stream=stream))
    events = ask(stream=stream)
    assert kinds(events[:3]) == [Retrying, Retrying, MessageStart]
    assert kinds(events[2:]).count(Retrying) == 0
    waits = [event.seconds for event in events if isinstance(event, Retrying)]
    assert 0.01 <= waits[0] <= 0.02 <= waits[1] <= 0.04
    assert len(bedrock.requests) == 3


def test_a_stream_that_opens_with_throttling_is_retried_too(bedrock: ScriptedBedrock, settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(Stream((exception("throttlingException"),)), Stream(HELLO))
    assert kinds(ask(stream=True))[:3] == [Retrying, MessageStart, TextDelta]


@BOTH
def test_retries_end_when_the_time_for_them_does(bedrock: ScriptedBedrock, settings: Any, stream: bool) -> None:
    settings.MODEL_RETRY_SECONDS = 0.4
    bedrock.play(THROTTLED)
    seen: list[Event] = []
    started = time.monotonic()
    with pytest.raises(faults.Throttled):
        ask(stream=stream, into=seen)
    assert time.monotonic() - started < 2
    assert 2 <= len(seen) == len(bedrock.requests) - 1
    assert set(kinds(seen)) == {Retrying}
    assert sum(event.seconds for event in seen if isinstance(event, Retrying)) <= 0.4


def test_the_wait_is_told_before_it_is_kept(bedrock: ScriptedBedrock, settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(refuses("ThrottlingException", 429, Retry_After="2"), hello(stream=False))
    events = runtime.call(request_to_model(), stream=False)
    assert next(events) == Retrying(2.0)
    assert len(bedrock.requests) == 1


def test_a_wait_that_bedrock_asks_for_and_we_do_not_have_is_handed_to_the_client(
    bedrock: ScriptedBedrock, settings: Any
) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(refuses("ThrottlingException", 429, Retry_After="30"))
    with pytest.raises(faults.Throttled) as caught:
        ask(stream=False)
    assert caught.value.headers["Retry-After"] == "30"
    assert len(bedrock.requests) == 1


def test_a_stop_ends_the_wait_with_the_fault_that_caused_it(bedrock: ScriptedBedrock, settings: Any) -> None:
    settings.MODEL_RETRY_SECONDS = 60
    bedrock.play(refuses("ServiceUnavailableException", 503, Retry_After="30"))
    interrupt = Interruption()
    events = runtime.call(request_to_model(), stream=True, interrupt=interrupt)
    assert next(events) == Retrying(30.0)
    threading.Timer(0.05, interrupt.request).start()
    started = time.monotonic()
    with pytest.raises(faults.Unavailable):
        next(events)
    assert time.monotonic() - started < 5
    assert len(bedrock.requests) == 1


@BOTH
@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("InternalServerException", 500),
        ("ModelErrorException", 424),
        ("ModelTimeoutException", 408),
        ("AccessDeniedException", 403),
        ("ValidationException", 400),
    ],
)
def test_what_would_fail_again_or_cost_twice_is_not_retried(
    bedrock: ScriptedBedrock, settings: Any, code: str, status: int, stream: bool
) -> None:
    settings.MODEL_RETRY_SECONDS = 5
    bedrock.play(refuses(code, status), hello(stream=stream))
    with pytest.raises(faults.ModelFault):
        ask(stream=stream)
    assert len(bedrock.requests) == 1


# ---- Against the emulator -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompt",
    [
        "Hello there",
        "[[reasoning]] why?",
        "[[reasoning]][[redacted]] why?",
        "[[trail]]",
        "[[max_tokens]]",
        "[[empty]]",
        "[[guardrail]] no",
        '[[tool:search:{"q": "cats", "deep": {"n": [1, 2]}}]]',
        "[[tool:now]]",
    ],
)
def test_the_emulator_says_the_same_in_both_kinds_of_call(emulator: Emulator, prompt: str) -> None:
    request = request_to_model(prompt)
    tools = [
        {"toolSpec": {"name": name, "description": name, "inputSchema": {"json": {"type": "object"}}}}
        for name in ("search", "now")
    ]
    request.body["toolConfig"] = {"tools": tools}
    whole, streamed = folded(ask(request, stream=False)), folded(ask(request, stream=True))
    assert whole[0] == streamed[0]
    assert whole[1] == streamed[1] is not None
    assert whole[2] == streamed[2] != ""
    assert (whole[0] == []) is (prompt == "[[empty]]")


def folded(events: list[Event]) -> tuple[list[dict[str, Any]], Usage | None, str]:
    builder = AnswerBuilder()
    for event in events:
        builder.feed(event)
    closed = events[-1]
    assert isinstance(closed, Closed)
    return builder.blocks(), closed.usage, closed.stop_reason


@BOTH
def test_the_emulator_throttles_twice_and_then_answers(emulator: Emulator, settings: Any, stream: bool) -> None:
    settings.MODEL_RETRY_SECONDS = 10
    emulator.script(fault="ThrottlingException", times=2)
    assert kinds(ask(stream=stream))[:3] == [Retrying, Retrying, MessageStart]
    assert len(emulator.requests()) == 3


@pytest.mark.parametrize(
    ("script", "kind"),
    [
        ({"fault": "ModelStreamErrorException"}, faults.StreamError),
        ({"fault": "InternalServerException"}, faults.InternalFault),
        ({"fault": "ThrottlingException"}, faults.Throttled),
        ({"cut": True}, faults.ConnectionCut),
        ({"end": True}, faults.Incomplete),
        ({"silence": 5}, faults.TimedOut),
    ],
    ids=str,
)
def test_the_emulator_goes_wrong_after_two_words(
    emulator: Emulator, settings: Any, script: dict[str, Any], kind: type
) -> None:
    settings.MODEL_READ_TIMEOUT = 0.5
    clients.reset()
    emulator.script(words=20, after=2, **script)
    seen: list[Event] = []
    with pytest.raises(kind):
        ask(stream=True, into=seen)
    assert kinds(seen) == [MessageStart, TextDelta, TextDelta]
