"""Events become Converse content blocks, and both kinds of answer are read into the same events."""

from typing import Any

import pytest

from bedrock_chat.bedrock import answers, faults
from bedrock_chat.bedrock.events import (
    AnswerBuilder,
    Closed,
    Event,
    Intervened,
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


def fold(*events: Event) -> list[dict[str, Any]]:
    builder = AnswerBuilder()
    for event in events:
        builder.feed(event)
    return builder.blocks()


def streamed(*frames: dict[str, Any]) -> list[Event]:
    return list(answers.read_stream(frames, lambda: None))


def part(delta: dict[str, Any], index: int = 0) -> dict[str, Any]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": delta}}


def tool_start(index: int = 0) -> dict[str, Any]:
    return {
        "contentBlockStart": {
            "contentBlockIndex": index,
            "start": {"toolUse": {"toolUseId": "t1", "name": "search"}},
        }
    }


def block_end(index: int = 0) -> dict[str, Any]:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def message_stop(reason: str) -> dict[str, Any]:
    return {"messageStop": {"stopReason": reason}}


# ---- Folding --------------------------------------------------------------------------------------------------------


def test_deltas_of_one_block_are_joined() -> None:
    assert fold(MessageStart(), TextDelta("Hel"), TextDelta("lo"), Stop("end_turn")) == [{"text": "Hello"}]


def test_adjacent_text_blocks_stay_apart() -> None:
    assert fold(TextDelta("one", 0), TextDelta("two", 1)) == [{"text": "one"}, {"text": "two"}]


def test_text_after_a_tool_use_is_a_new_block_whatever_its_index() -> None:
    blocks = fold(TextDelta("Looking."), ToolUse("t1", "search", {"q": 1}), TextDelta("Found."))
    assert blocks == [
        {"text": "Looking."},
        {"toolUse": {"toolUseId": "t1", "name": "search", "input": {"q": 1}}},
        {"text": "Found."},
    ]


def test_reasoning_keeps_its_signature_and_unsigned_reasoning_has_none() -> None:
    assert fold(
        ReasoningDelta("Let me "), ReasoningDelta("see."), ReasoningSignature("c2ln"), TextDelta("Yes.", 1)
    ) == [
        {"reasoningContent": {"reasoningText": {"text": "Let me see.", "signature": "c2ln"}}},
        {"text": "Yes."},
    ]
    assert fold(ReasoningDelta("Hm.")) == [{"reasoningContent": {"reasoningText": {"text": "Hm."}}}]


def test_redacted_reasoning_keeps_its_bytes_and_its_place() -> None:
    blocks = fold(
        ReasoningDelta("a", 0), ReasoningSignature("s", 0), RedactedReasoning(b"\x00\x01", 1), TextDelta("b", 2)
    )
    assert blocks[1] == {"reasoningContent": {"redactedContent": b"\x00\x01"}}
    assert [next(iter(block)) for block in blocks] == ["reasoningContent", "reasoningContent", "text"]


def test_an_empty_text_makes_no_block() -> None:
    assert fold(TextDelta("")) == []


def test_events_that_are_no_content_change_nothing() -> None:
    assert fold(Retrying(0.5), MessageStart(), Usage(1, 2), Stop("end_turn"), Closed(None, "end_turn", 1, None)) == []


def test_reasoning_and_tools_alone_are_no_text() -> None:
    builder = AnswerBuilder()
    builder.feed(ReasoningDelta("Hm."))
    builder.feed(ToolUse("t1", "search", {}))
    builder.feed(TextDelta(" \n"))
    assert not builder.has_text()
    builder.feed(TextDelta("Yes."))
    assert builder.has_text()


# ---- Reading --------------------------------------------------------------------------------------------------------


def test_the_fragments_of_a_tools_input_are_joined_and_parsed() -> None:
    events = streamed(
        tool_start(), part({"toolUse": {"input": '{"q": "ca'}}), part({"toolUse": {"input": 'ts"}'}}), block_end()
    )
    assert events == [ToolUse("t1", "search", {"q": "cats"})]


def test_a_tool_without_input_gets_an_empty_one() -> None:
    assert streamed(tool_start(), block_end()) == [ToolUse("t1", "search", {})]


def test_two_tools_do_not_mix_their_fragments() -> None:
    events = streamed(
        tool_start(0),
        part({"toolUse": {"input": '{"a":'}}, 0),
        tool_start(1),
        part({"toolUse": {"input": '{"b":2}'}}, 1),
        part({"toolUse": {"input": "1}"}}, 0),
        block_end(0),
        block_end(1),
    )
    assert [event.input for event in events if isinstance(event, ToolUse)] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("tool_input", ['{"q": "ca', "[1]", "3", "[" * 100_000])
def test_a_tool_use_whose_input_cannot_be_read_says_so(tool_input: str) -> None:
    events = streamed(
        part({"text": "Let me see."}),
        tool_start(1),
        part({"toolUse": {"input": tool_input}}, 1),
        block_end(1),
        message_stop("max_tokens"),
    )
    assert events == [TextDelta("Let me see."), ToolUse("t1", "search", {}, 1, is_broken=True), Stop("max_tokens")]


def test_stopping_for_a_tool_use_that_never_ended_is_a_fault() -> None:
    with pytest.raises(faults.MalformedToolUse):
        streamed(tool_start(), part({"toolUse": {"input": '{"q": '}}), message_stop("tool_use"))


def test_the_input_of_a_whole_answer_may_be_unreadable_too() -> None:
    use = {"toolUse": {"toolUseId": "t1", "name": "search", "input": "cats"}}
    events = list(answers.read_whole({"output": {"message": {"content": [use]}}, "stopReason": "tool_use"}))
    assert events == [MessageStart(), ToolUse("t1", "search", {}, is_broken=True), Stop("tool_use")]


def test_an_input_deeper_than_python_walks_is_unreadable() -> None:
    deep: dict[str, Any] = {}
    for _ in range(5_000):
        deep = {"a": deep}
    use = {"toolUse": {"toolUseId": "t1", "name": "search", "input": deep}}
    events = list(answers.read_whole({"output": {"message": {"content": [use]}}}))
    assert events[1:] == [ToolUse("t1", "search", {}, is_broken=True)]


def test_unknown_frames_blocks_and_deltas_are_left_out() -> None:
    events = streamed(
        {"somethingNew": {"x": 1}},
        part({"citation": {"source": "x"}}),
        part({"reasoningContent": {"newKind": "x"}}),
        {"contentBlockStart": {"contentBlockIndex": 4, "start": {"image": {"format": "png"}}}},
        part({"toolUse": {"input": "{}"}}, 4),
        block_end(4),
        {"metadata": {"metrics": {"latencyMs": 1}}},
        message_stop("a_new_word"),
    )
    assert events == [Stop("a_new_word")]
    whole = {"output": {"message": {"content": [{"image": {}}, {"text": "Hi"}]}}, "stopReason": "end_turn"}
    assert list(answers.read_whole(whole)) == [MessageStart(), TextDelta("Hi", 1), Stop("end_turn")]


def test_characters_that_postgresql_cannot_keep_are_replaced() -> None:
    assert streamed(part({"text": "a\0b\ud83dc"}), part({"text": "Zoë 🙂"})) == [
        TextDelta("a\ufffdb\ufffdc"),
        TextDelta("Zoë 🙂"),
    ]
    [event] = streamed(tool_start(), part({"toolUse": {"input": r'{"a\u0000": ["\ud83d", 1]}'}}), block_end())
    assert event == ToolUse("t1", "search", {"a\ufffd": ["\ufffd", 1]})


# ---- Guardrails -----------------------------------------------------------------------------------------------------


def test_of_a_guardrails_trace_only_the_kinds_are_read_that_were_blocked() -> None:
    results = [
        {"type": "HATE", "action": "BLOCKED"},
        {"type": "SEXUAL", "action": "NONE"},
    ]
    words = {"customWords": [{"match": "secret", "action": "BLOCKED"}], "managedWordLists": []}
    trace = {
        "guardrail": {
            "modelOutput": ["secret"],
            "inputAssessment": {"g": {"contentPolicy": {"filters": results}, "invocationMetrics": {"latency": 5}}},
            "outputAssessments": {"g": [{"wordPolicy": words}, {"contentPolicy": {"filters": results[1:]}}]},
        }
    }
    events = streamed(message_stop("guardrail_intervened"), {"metadata": {"trace": trace}})
    assert events[1:] == [Intervened("question", ("HATE",)), Intervened("answer", ("wordPolicy",))]
    assert "secret" not in str(events)
    assert list(answers.read_whole({"trace": trace}))[1:] == events[1:]
    assert streamed({"metadata": {"trace": {}}}) == []
