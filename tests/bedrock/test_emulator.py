"""The emulator answers boto3 as Bedrock would, and as its markers and scripts ask."""

import time
from itertools import pairwise

import pytest
from botocore.exceptions import ClientError

from tests.bedrock.boto import SONNET, THINKING, TOOLS, assistant, boto, converse, kinds, stream, text, user
from tests.emulator import Emulator
from tests.pictures import image_block

PIXEL = image_block()
NOTES = {"document": {"format": "txt", "name": "document 1", "source": {"bytes": b"notes"}}}
TOOL_USE = {"toolUse": {"toolUseId": "t1", "name": "weather", "input": {"city": "Rome"}}}
TOOL_RESULT = {"toolResult": {"toolUseId": "t1", "content": [{"text": "sunny"}]}}


# ---- What it says ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "answer", "stop"),
    [
        ("hello", "Echo: hello", "end_turn"),
        ("x" * 99, "Echo: " + "x" * 60, "end_turn"),
        ("go [[max_tokens]]", "This answer stops", "max_tokens"),
        ("[[empty]]", "", "end_turn"),
        ("[[trail]]", "Trailing space and newline \n", "end_turn"),
        ("[[stop:content_filtered]]", "Echo: [[stop:content_filtered]]", "content_filtered"),
        ("[[guardrail]]", "Sorry, I can't talk about that.", "guardrail_intervened"),
        ("[[words:4]]", "the quick brown fox", "end_turn"),
        ('[[tool:weather:{"city":"Rome"}]]', 'Echo: [[tool:weather:{"city":"Rome"}]]', "end_turn"),
        (user(PIXEL, "what is it"), "I see an image.", "end_turn"),
        (user(NOTES, "summarise"), "I see a document.", "end_turn"),
        (user("first", "second"), "Echo: second", "end_turn"),
    ],
)
def test_both_operations_give_the_same_answer(emulator: Emulator, message: object, answer: str, stop: str) -> None:
    whole, events = converse(emulator, message), stream(emulator, message)
    assert text(whole) == text(events) == answer
    assert whole["stopReason"] == events[-2]["messageStop"]["stopReason"] == stop


@pytest.mark.parametrize(
    ("marker", "max_tokens", "answer", "stop"),
    [
        ("[[thinks:1000]]", 2_048, "Echo: [[thinks:1000]]", "end_turn"),
        ("[[thinks:5000]]", 2_048, "Echo: [[thinks:5000]]", "end_turn"),  # no more than the budget
        ("[[thinks:1024]]", 1_024 + 2, "the quick", "max_tokens"),
        ("[[thinks:1024]]", 1_025, "the", "max_tokens"),
    ],
)
def test_thinking_counts_against_max_tokens(
    emulator: Emulator, marker: str, max_tokens: int, answer: str, stop: str
) -> None:
    words = "[[words:9]]" if stop == "max_tokens" else ""
    limits = {"inferenceConfig": {"maxTokens": max_tokens}, "additionalModelRequestFields": THINKING}
    answer_of_model = converse(emulator, f"{marker}{words}", **limits)
    assert (text(answer_of_model), answer_of_model["stopReason"]) == (answer, stop)


def test_thinking_that_uses_everything_up_leaves_no_answer(emulator: Emulator) -> None:
    answer_of_model = converse(
        emulator, "[[thinks:9000]]", model="deepseek.r1-v1:0", inferenceConfig={"maxTokens": 8_192}
    )
    assert (text(answer_of_model), answer_of_model["stopReason"], answer_of_model["usage"]["outputTokens"]) == (
        "",
        "max_tokens",
        8_192,
    )
    assert text(converse(emulator, "[[thinks:9000]]", inferenceConfig={"maxTokens": 10})) == "Echo: [[thinks:9000]]"


def test_only_the_last_question_has_markers(emulator: Emulator) -> None:
    answer = converse(emulator, "[[max_tokens]]", assistant("This answer stops"), "go on")
    assert text(answer) == "Echo: go on"


def test_an_answer_that_stands_last_is_continued(emulator: Emulator) -> None:
    answer = converse(emulator, "[[max_tokens]]", assistant("This answer stops"))
    assert (text(answer), answer["stopReason"]) == (" ...and the rest.", "end_turn")


def test_events_come_in_the_order_of_bedrock(emulator: Emulator) -> None:
    events = stream(emulator, '[[tool:weather:{"city": "Rome"}]]', toolConfig=TOOLS)
    names = [name for name, before in zip(kinds(events), ["", *kinds(events)], strict=False) if name != before]
    assert names == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockStop",
        "contentBlockStart",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    indexes = [next(iter(event.values())).get("contentBlockIndex", 0) for event in events[:-2]]
    assert all(before <= after for before, after in pairwise(indexes))


def test_a_short_answer_comes_in_three_or_four_deltas(emulator: Emulator) -> None:
    deltas = [
        event["contentBlockDelta"]["delta"]["text"]
        for event in stream(emulator, "hello there websocket")
        if "contentBlockDelta" in event
    ]
    assert deltas == ["Echo: hel", "lo there ", "websocket"]


def test_tools_are_called_with_the_inputs_that_were_asked_for(emulator: Emulator) -> None:
    question = 'go [[tool:weather:{"city": "Rome", "days": [[1, 2]]}]] [[tool:not_a_tool]]'
    answer = converse(emulator, question, toolConfig=TOOLS)
    spoken, first, second = answer["output"]["message"]["content"]
    assert spoken == {"text": "Let me look that up."}
    assert first["toolUse"] == {
        "toolUseId": "tooluse_fake0001",
        "name": "weather",
        "input": {"city": "Rome", "days": [[1, 2]]},
    }
    assert (second["toolUse"]["name"], second["toolUse"]["input"]) == ("not_a_tool", {})
    assert answer["stopReason"] == "tool_use"


def test_a_tool_input_is_streamed_in_fragments_and_an_empty_one_as_nothing(emulator: Emulator) -> None:
    events = stream(emulator, '[[tool:weather:{"city": "Rome"}]][[tool:weather]]', toolConfig=TOOLS)
    fragments: dict[int, str] = {}
    for event in events:
        if delta := event.get("contentBlockDelta"):
            fragment = delta["delta"].get("toolUse", {}).get("input", "")
            fragments[delta["contentBlockIndex"]] = fragments.get(delta["contentBlockIndex"], "") + fragment
    assert fragments == {0: "", 1: '{"city":"Rome"}'}


def test_after_a_tool_result_it_sums_up(emulator: Emulator) -> None:
    messages = ("[[tool:weather]]", assistant("Let me look that up.", TOOL_USE), user(TOOL_RESULT))
    assert text(converse(emulator, *messages, toolConfig=TOOLS)) == "The tool said something useful."


def test_then_scripts_the_next_round(emulator: Emulator) -> None:
    messages = ("[[tool:weather]][[then]][[tool:maps]]", assistant("Let me look that up.", TOOL_USE), user(TOOL_RESULT))
    called = converse(emulator, *messages, toolConfig=TOOLS)["output"]["message"]["content"][1]["toolUse"]
    assert (called["name"], called["toolUseId"]) == ("maps", "tooluse_fake0002")


def test_thinking_comes_first_and_signed(emulator: Emulator) -> None:
    fields = {"additionalModelRequestFields": THINKING, "inferenceConfig": {"maxTokens": 4096}}
    thought, spoken = converse(emulator, "think", **fields)["output"]["message"]["content"]
    assert thought["reasoningContent"]["reasoningText"] == {
        "text": "Thinking about it step by step.",
        "signature": "c2lnbmF0dXJl",
    }
    assert spoken == {"text": "Echo: think"}
    deltas = [event["contentBlockDelta"]["delta"] for event in stream(emulator, "think", **fields)[1:4]]
    assert deltas == [
        {"reasoningContent": {"text": "Thinking about "}},
        {"reasoningContent": {"text": "it step by step."}},
        {"reasoningContent": {"signature": "c2lnbmF0dXJl"}},
    ]


def test_redacted_reasoning_is_bytes(emulator: Emulator) -> None:
    block = {"reasoningContent": {"redactedContent": b"redacted"}}
    assert converse(emulator, "[[redacted]]")["output"]["message"]["content"][0] == block
    assert stream(emulator, "[[redacted]]")[1]["contentBlockDelta"]["delta"] == block


def test_models_that_do_not_sign_their_thoughts_send_none(emulator: Emulator) -> None:
    thought = converse(emulator, "[[reasoning]]", model="us.deepseek.r1-v1:0")["output"]["message"]["content"][0]
    assert thought["reasoningContent"]["reasoningText"] == {"text": "Thinking about it step by step."}


def test_a_model_that_hides_its_thoughts_shows_them_to_who_asks(emulator: Emulator) -> None:
    def thought(**thinking: str) -> str:
        fields = {"thinking": {"type": "adaptive", **thinking}}
        answer = converse(emulator, "think", model="anthropic.claude-opus-4-7", additionalModelRequestFields=fields)
        return answer["output"]["message"]["content"][0]["reasoningContent"]["reasoningText"]["text"]

    assert thought() == ""
    assert thought(display="summarized") == "Thinking about it step by step."


def test_words_stop_at_max_tokens(emulator: Emulator) -> None:
    answer = converse(emulator, "[[words:10]]", inferenceConfig={"maxTokens": 3})
    assert (text(answer), answer["stopReason"], answer["usage"]["outputTokens"]) == ("the quick brown", "max_tokens", 3)


def test_text_of_any_language_survives(emulator: Emulator) -> None:
    question = "naïve 日本語 🎉 \u2028 \x7f"
    assert text(converse(emulator, question)) == text(stream(emulator, question)) == f"Echo: {question}"


# ---- When it says it ------------------------------------------------------------------------------------------------


def test_latency_and_pace_are_kept(emulator: Emulator) -> None:
    started = time.monotonic()
    answer = boto(emulator).converse_stream(modelId=SONNET, messages=[user("[[wait:0.2]][[pace:0.05]][[words:5]]")])
    times = [time.monotonic() - started for event in answer["stream"] if "contentBlockDelta" in event]
    assert 0.2 <= times[0] < 2
    assert 0.38 <= times[-1] < 4, "the last of five pieces comes four paces after the first, which may be read late"


def test_converse_takes_as_long_as_its_stream_would(emulator: Emulator) -> None:
    started = time.monotonic()
    converse(emulator, "[[wait:0.1]][[pace:0.05]][[words:5]]")
    assert time.monotonic() - started >= 0.3


# ---- The control endpoint -------------------------------------------------------------------------------------------


def test_requests_are_logged_with_what_was_sent(emulator: Emulator) -> None:
    converse(emulator, "one", inferenceConfig={"maxTokens": 5})
    with pytest.raises(ClientError):
        stream(emulator, "[[denied]]")
    first, second = emulator.requests()
    assert first["path"] == "/model/anthropic.claude-3-7-sonnet-20250219-v1%3A0/converse"
    assert (first["model"], first["operation"], first["status"], first["outcome"]) == (SONNET, "Converse", 200, "done")
    assert first["body"] == {"messages": [user("one")], "inferenceConfig": {"maxTokens": 5}}
    assert (second["operation"], second["status"]) == ("ConverseStream", 403)
    assert abs(first["at"] - time.time()) < 60
    emulator.clear_requests()
    assert emulator.requests() == []


def test_a_script_joins_every_answer_until_it_is_taken_back(emulator: Emulator) -> None:
    emulator.script(text="As told.", usage={"input": 11, "output": 7})
    answers = [converse(emulator, "a"), converse(emulator, "[[stop:stop_sequence]]")]
    assert [text(answer) for answer in answers] == ["As told.", "As told."]
    assert [answer["stopReason"] for answer in answers] == ["end_turn", "stop_sequence"]
    assert (answers[0]["usage"]["inputTokens"], answers[0]["usage"]["outputTokens"]) == (11, 7)
    emulator.script()
    assert text(converse(emulator, "a")) == "Echo: a"


def test_a_script_for_the_next_requests_alone(emulator: Emulator) -> None:
    emulator.script(text="twice", times=2)
    assert [text(converse(emulator, "a")) for _ in range(3)] == ["twice", "twice", "Echo: a"]


def test_a_queue_of_scripts_is_used_up_in_order(emulator: Emulator) -> None:
    emulator.queue({"text": "first"}, {}, {"text": "third"})
    assert [text(converse(emulator, "a")) for _ in range(4)] == ["first", "Echo: a", "third", "Echo: a"]


def test_reset_forgets_everything(emulator: Emulator) -> None:
    emulator.script(text="default")
    emulator.queue({"text": "queued"})
    emulator.reset()
    assert emulator.requests() == []
    assert text(converse(emulator, "a")) == "Echo: a"


def test_a_bad_script_is_refused_with_a_sentence(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="wait: must be seconds"):
        emulator.script(wait="soon")
    with pytest.raises(ValueError, match="times"):
        emulator.script(times=-1)
    with pytest.raises(ValueError, match="There is no GET"):
        emulator.control("GET", "nothing")


def test_static_answers_whatever_it_is_asked(emulator: Emulator) -> None:
    emulator.script(static=True, words=50)
    unread = boto(emulator, check_parameters=False).converse(modelId="no.such-model", messages=[])
    assert len(text(unread).split()) == 50
    assert sum("contentBlockDelta" in event for event in stream(emulator, "hello")) == 50
