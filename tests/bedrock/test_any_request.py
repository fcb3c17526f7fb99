"""No request that is composed, from any history, for any model, with any files, tools, reasoning and guardrail, is
refused.
"""

import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_chat.bedrock import attachments, offering
from bedrock_chat.bedrock.catalog import MODELS, Model, Target
from bedrock_chat.bedrock.request import Guardrail, Parameters, compose
from bedrock_chat.bedrock.tools import ToolSpec
from bedrock_chat.wire.errors import BadRequest
from conversations.content.blocks import DOCUMENT_TYPES
from tests.bedrock.boto import assistant, boto, user
from tests.emulator import Emulator
from tests.pictures import document_block, image_block, phone_picture, picture

SLOW = bool(os.environ.get("SLOW"))
EXAMPLES = 300 if SLOW else 80
pytestmark = [pytest.mark.slow] if SLOW else []


class Zeros(bytes):
    """A large file that Hypothesis can print."""

    def __repr__(self) -> str:
        return f"Zeros({len(self)})"


PICTURES = [
    *(image_block(picture(form), form) for form in ("gif", "jpeg", "png", "webp")),
    image_block(phone_picture(), "jpeg"),
    image_block(picture(size=(2001, 1))),
    image_block(picture(size=(1, 1121))),
]
DOCUMENTS = [document_block(form) for form in DOCUMENT_TYPES]
HEAVY = document_block("pdf", Zeros(4_600_000))  # older models of Claude take no such PDF
TEXTS = st.sampled_from(["hello", "why?", "語", "a" * 50]).map(lambda text: {"text": text})
FILES = st.sampled_from([*PICTURES, *DOCUMENTS])
REASONING = st.sampled_from(
    [
        {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "c2ln"}}},
        {"reasoningContent": {"reasoningText": {"text": "Hm."}}},
        {"reasoningContent": {"redactedContent": b"\0\1"}},
    ]
)
TOOLS = [ToolSpec("look", "Looks something up.", {"type": "object", "properties": {}})]
QUESTIONS = st.lists(TEXTS | FILES, min_size=1, max_size=4)
ANSWERS = st.lists(TEXTS | REASONING, min_size=1, max_size=3)
PARAMETERS = st.builds(
    Parameters,
    max_tokens=st.sampled_from([None, 1, 500, 10**6]),
    temperature=st.sampled_from([None, 0.3]),
    top_p=st.sampled_from([None, 0.5]),
    top_k=st.sampled_from([None, 40]),
    stop_sequences=st.sampled_from([None, (), ("STOP",)]),
    reasoning_budget=st.sampled_from([None, 10, 5_000, 10**6]),
)


@st.composite
def conversations(draw: st.DrawFn, model: Model) -> list[dict[str, Any]]:
    """Roles alternate. Now and then there are many images, a round of tools, or an answer to go on from."""
    messages: list[dict[str, Any]] = []
    for _ in range(draw(st.sampled_from([0, 0, 0, 25]))):
        messages += [user(draw(st.sampled_from(PICTURES)), "look"), assistant("I see.")]
    if draw(st.integers(0, 19)) == 19:
        messages += [user(HEAVY, "read"), assistant("I have.")]
    for number in range(draw(st.integers(0, 4))):
        messages.append(user(*draw(QUESTIONS)))
        if model.tools is not False and draw(st.booleans()):
            use_id = f"t{number}"
            parts = draw(st.lists(TEXTS | FILES, max_size=3))
            messages.append(assistant(*draw(ANSWERS), {"toolUse": {"toolUseId": use_id, "name": "look", "input": {}}}))
            messages.append(user({"toolResult": {"toolUseId": use_id, "content": parts}}))
        messages.append(assistant(*draw(ANSWERS)))
    messages.append(user(*draw(QUESTIONS)))
    if model.prefill is True and draw(st.booleans()):
        messages.append(assistant({"text": "and so"}))
    elif model.tools is not False and draw(st.booleans()):
        parts = draw(st.lists(TEXTS | FILES, max_size=3))
        messages.append(assistant(*draw(ANSWERS), {"toolUse": {"toolUseId": "last", "name": "look", "input": {}}}))
        messages.append(user({"toolResult": {"toolUseId": "last", "content": parts}}))
    return messages


@pytest.fixture(scope="module")
def client(emulator_process: Emulator) -> Iterator[Any]:
    emulator_process.reset()
    yield boto(emulator_process, check_parameters=False)
    emulator_process.reset()


@pytest.fixture(scope="module")
def guardrail(client: Any, emulator_process: Emulator) -> Guardrail:
    """One that is there, in its draft."""
    strength = {"type": "HATE", "inputStrength": "LOW", "outputStrength": "LOW"}
    policy = {"contentPolicyConfig": {"filtersConfig": [strength]}}
    made = {"name": "g", "blockedInputMessaging": "No.", "blockedOutputsMessaging": "No.", **policy}
    answer = httpx.post(f"{emulator_process.url}/guardrails", json=made).raise_for_status()
    return Guardrail(answer.json()["guardrailId"], "DRAFT")


def must_be_refused(model: Model, messages: list[dict[str, Any]]) -> bool:
    """Whether the model cannot read what was sent, or the question alone holds more than it takes."""
    kinds = {kind for message in messages for block in message["content"] for kind in block}
    try:
        offering.refuse_unreadable(model, images="image" in kinds, documents="document" in kinds)
        question_files = [file for file in attachments.of_messages(messages) if file.in_question]  # type: ignore[arg-type]
        attachments.refuse_excess(model, question_files)
    except BadRequest:
        return True
    return False


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_request_that_is_composed_is_refused(client: Any, guardrail: Guardrail, data: st.DataObject) -> None:
    model = MODELS[data.draw(st.sampled_from(sorted(MODELS)))]
    messages = data.draw(conversations(model))
    try:
        request = compose(
            model,
            Target(model.bedrock_id, "us-east-1"),
            messages,  # type: ignore[arg-type]
            instruction=data.draw(st.sampled_from(["", "Be kind."])),
            parameters=data.draw(PARAMETERS),
            tools=TOOLS if "toolUse" in str([list(b) for m in messages for b in m["content"]]) else [],
            reasoning=messages[-1]["role"] == "user" and data.draw(st.booleans()),
            prompt_caching=data.draw(st.sampled_from([True, True, False])),
            guardrail=data.draw(st.sampled_from([None, guardrail])),
        )
    except BadRequest:
        assert must_be_refused(model, messages)
        return
    if request.streamable and data.draw(st.booleans()):
        assert list(client.converse_stream(modelId=model.bedrock_id, **request.body)["stream"])
    else:
        client.converse(modelId=model.bedrock_id, **request.body)
