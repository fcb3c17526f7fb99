"""What a request marks for its guardrail: answers are held against sources and a query, and nothing else is judged."""

from collections.abc import Sequence
from typing import Any

import pytest
from botocore.exceptions import ClientError, EventStreamError

from bedrock_chat.bedrock import catalog, estimates, grounding, offering, request, runtime
from bedrock_chat.bedrock.events import Closed, Intervened, TextDelta
from bedrock_chat.bedrock.faults import Invalid
from bedrock_chat.bedrock.request import Guardrail, ModelRequest
from bedrock_chat.bedrock.shapes import ConverseBlock, ConverseMessage
from tests.bedrock.boto import assistant, converse, stream, text, user
from tests.bedrock.test_emulator_guardrails import SETTINGS, bedrock, made
from tests.emulator import Emulator

__all__ = ["bedrock"]  # a fixture

BOTH = [{"type": "GROUNDING", "threshold": 0.7}, {"type": "RELEVANCE", "threshold": 0.5}]


def grounded(bedrock: Any, filters: Sequence[Any] = BOTH) -> dict[str, str]:
    arn = made(bedrock, contextualGroundingPolicyConfig={"filtersConfig": list(filters)})
    return {"guardrailIdentifier": arn, "guardrailVersion": "DRAFT", "trace": "enabled"}


def marked(text: str, *qualifiers: str) -> ConverseBlock:
    return {"guardContent": {"text": {"text": text, "qualifiers": list(qualifiers)}}}


def asked(question: str, *sources: str) -> list[Any]:
    return grounding.with_sources([{"role": "user", "content": [{"text": question}]}], sources)


@pytest.mark.parametrize(("marker", "kind"), [("[[ungrounded]]", "GROUNDING"), ("[[irrelevant]]", "RELEVANCE")])
def test_a_marker_has_the_answer_blocked_by_a_guardrail_with_that_threshold(
    bedrock: Any, emulator: Emulator, marker: str, kind: str
) -> None:
    guardrail = grounded(bedrock)
    question = asked(f"How long? {marker}", "Leave is 25 days.")
    answer = converse(emulator, *question, guardrailConfig=guardrail)
    assert (text(answer), answer["stopReason"]) == ("No answer.", "guardrail_intervened")
    [[assessment]] = answer["trace"]["guardrail"]["outputAssessments"].values()
    [finding] = assessment["contextualGroundingPolicy"]["filters"]
    assert (finding["type"], finding["action"]) == (kind, "BLOCKED")
    assert text(stream(emulator, *question, guardrailConfig=guardrail)) == "No answer."
    assert text(converse(emulator, *question)).startswith("Echo: How long?")  # no guardrail
    plain = user(f"How long? {marker}")
    assert text(converse(emulator, plain, guardrailConfig=guardrail)).startswith("Echo")  # no source
    only = [one for one in BOTH if one["type"] != kind]
    bedrock.update_guardrail(
        guardrailIdentifier=guardrail["guardrailIdentifier"],
        **{**SETTINGS, "contextualGroundingPolicyConfig": {"filtersConfig": only}},
    )
    assert text(converse(emulator, *question, guardrailConfig=guardrail)).startswith("Echo")


def test_a_refused_word_is_refused_wherever_it_stands_in_the_question_and_nowhere_in_a_source(
    bedrock: Any, emulator: Emulator
) -> None:
    guardrail = grounded(bedrock)
    late = asked("x" * 1500 + " [[blocked]]", "Leave is 25 days.")
    assert text(converse(emulator, *late, guardrailConfig=guardrail)) == "No question."
    in_source = asked("How long?", "[[blocked]] Leave is 25 days.")
    history = [user("[[blocked]]"), assistant("No question.")]
    answer = converse(emulator, *history, *in_source, guardrailConfig=guardrail)
    assert text(answer) == "Echo: How long?"
    assert answer["usage"]["inputTokens"] > 10


def test_an_empty_block_and_what_is_over_the_quotas_are_refused(bedrock: Any, emulator: Emulator) -> None:
    guardrail = grounded(bedrock)

    def refusal(*content: ConverseBlock) -> str:
        with pytest.raises(ClientError, match="ValidationException") as caught:
            converse(emulator, user(*content), guardrailConfig=guardrail)
        return str(caught.value)

    source, query = marked("Leave.", "grounding_source"), marked("How long?", "query", "guard_content")
    assert "0.content.1.guardContent is blank" in refusal(source, marked("  ", "query"))
    assert "grounding source" in refusal(*[marked("a" * 25_001, "grounding_source")] * 2, query)
    assert "query" in refusal(source, marked("a" * 1_001, "query", "guard_content"))
    assert "The response for contextual grounding" in refusal(source, marked("[[words:1200]]", "query"))
    with pytest.raises(EventStreamError, match="The response for contextual grounding"):
        stream(emulator, user(source, marked("[[words:1200]]", "query")), guardrailConfig=guardrail)
    converse(emulator, user(*[marked("a" * 25_000, "grounding_source")] * 2, query), guardrailConfig=guardrail)
    converse(emulator, user("[[words:1200]]"), guardrailConfig=guardrail)


def composed(messages: Sequence[ConverseMessage], guardrail: dict[str, str]) -> ModelRequest:
    model = catalog.find("claude-v4.5-sonnet")
    guard = Guardrail(guardrail["guardrailIdentifier"], guardrail["guardrailVersion"])
    return request.compose(model, offering.route(model), messages, guardrail=guard)


def test_our_own_request_carries_marked_blocks_and_is_told_what_was_blocked(
    bedrock: Any, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    guardrail = grounded(bedrock)
    messages = grounding.with_sources(
        [
            {"role": "user", "content": [{"text": "Earlier"}]},
            {"role": "assistant", "content": [{"text": "Yes."}]},
            {"role": "user", "content": [{"text": "How long? [[ungrounded]]"}]},
        ],
        ["s1\nLeave is 25 days.", " "],
    )
    model_request = composed(messages, guardrail)
    earlier, _, question = model_request.body["messages"]
    assert earlier["content"][0] == {"text": "Earlier"}
    assert [block["guardContent"]["text"]["qualifiers"] for block in question["content"]] == [
        ["grounding_source"],
        ["query", "guard_content"],
    ]
    assert estimates.usage(model_request, ()).input_tokens == 2 + 1 + 5 + 6
    with caplog.at_level("INFO"):
        events = list(runtime.call(model_request, stream=True))
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "No answer."
    assert not any(isinstance(event, Intervened) for event in events)
    assert "blocked the answer: GROUNDING" in caplog.text
    assert isinstance(events[-1], Closed)
    too_long = composed(asked("[[words:1200]]", "Leave is 25 days."), guardrail)
    with pytest.raises(Invalid, match="contextual grounding"):
        list(runtime.call(too_long, stream=True))
