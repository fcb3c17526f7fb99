"""What a model thinks has room of its own beside the answer, and goes back to that model alone."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from tests import build
from tests.conversations.chat import read, say, text_of
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]

THOUGHT = {"contentType": "reasoning", "text": "Hm.", "signature": "c2ln", "redactedContent": ""}
REDACTED = {"contentType": "reasoning", "text": "", "signature": "", "redactedContent": "AAE="}
UNSIGNED = {**THOUGHT, "signature": ""}


@pytest.fixture
def alice(client_of: ClientOf, emulator: Emulator) -> APIClient:
    return client_of("alice")


def answered_by(model: str, *blocks: dict[str, Any], **columns: Any) -> None:
    """A conversation whose only answer is this model's."""
    conversation = build.conversation(local.local_user("alice"), "c1")
    answer = build.answer(build.question(conversation, "why?"), "", content=[*blocks, *build.text("So.")], **columns)
    type(answer).objects.filter(pk=answer.pk).update(model=model)


def sent_back(emulator: Emulator) -> list[str]:
    """The kinds of blocks in which the model was sent the first answer."""
    return [next(iter(block)) for block in emulator.requests()[-1]["body"]["messages"][1]["content"]]


@pytest.mark.both
@pytest.mark.parametrize(
    ("made_by", "model", "kinds"),
    [
        ("claude-v3.7-sonnet", "claude-v3.7-sonnet", ["reasoningContent", "reasoningContent", "text"]),
        ("claude-v4.6-sonnet", "claude-v4.6-sonnet", ["reasoningContent", "reasoningContent", "text"]),
        ("claude-v3.7-sonnet", "claude-v4.5-sonnet", ["text"]),
        ("claude-v4.5-sonnet", "claude-v4.5-haiku", ["text"]),
        ("claude-v3.7-sonnet", "claude-v3-haiku", ["text"]),
        ("claude-v3.7-sonnet", "amazon-nova-pro", ["text"]),
        ("claude-v3.7-sonnet", "deepseek-r1", ["text"]),
        ("claude-v3.7-sonnet", "llama3-3-70b-instruct", ["text"]),
    ],
)
def test_reasoning_goes_back_only_to_the_model_that_made_it(
    alice: APIClient, emulator: Emulator, made_by: str, model: str, kinds: list[str]
) -> None:
    answered_by(made_by, THOUGHT, REDACTED)
    assert say(alice, "c1", "and?", model=model).status_code == 200
    assert sent_back(emulator) == kinds


@pytest.mark.parametrize("model", ["deepseek-r1", "gpt-oss-20b", "amazon-nova-pro", "claude-v3.7-sonnet"])
def test_unsigned_reasoning_goes_back_to_nobody(alice: APIClient, emulator: Emulator, model: str) -> None:
    answered_by(model, UNSIGNED)
    assert say(alice, "c1", "and?", model=model).status_code == 200
    assert sent_back(emulator) == ["text"]


def test_an_answer_of_another_models_reasoning_alone_is_no_empty_message(alice: APIClient, emulator: Emulator) -> None:
    conversation = build.conversation(local.local_user("alice"), "c1")
    build.answer(build.question(conversation, "why?"), "", content=[THOUGHT])
    assert say(alice, "c1", "and?", model="claude-v4.5-haiku").status_code == 200
    assert emulator.requests()[-1]["body"]["messages"][1]["content"] == [{"text": "(no answer)"}]


def test_an_answer_that_another_model_continued_keeps_the_reasoning_of_its_first(
    alice: APIClient, emulator: Emulator
) -> None:
    answered_by("claude-v3.7-sonnet", THOUGHT, stop_reason="max_tokens")
    assert say(alice, "c1", [], model="claude-v4.5-sonnet", continue_generate=True).status_code == 200
    assert sent_back(emulator) == ["text"]
    for model, kinds in (
        ("claude-v4.5-sonnet", ["text"]),
        ("claude-v3.7-sonnet", ["reasoningContent", "text"]),
    ):
        assert say(alice, "c1", f"and {model}?", model=model).status_code == 200
        assert sent_back(emulator) == kinds


def test_a_question_asked_again_of_another_model_has_that_models_reasoning(
    alice: APIClient, emulator: Emulator
) -> None:
    emulator.script(fault="ModelErrorException", times=1)
    assert say(alice, "c1", "why?", model="claude-v3.7-sonnet", message_id="q1").status_code == 502
    assert (
        say(alice, "c1", "why?", model="claude-v4.5-haiku", message_id="q1", enable_reasoning=True).status_code == 200
    )
    assert say(alice, "c1", "and?", model="claude-v4.5-haiku").status_code == 200
    assert sent_back(emulator) == ["reasoningContent", "text"]
    assert say(alice, "c1", "and now?", model="claude-v3.7-sonnet").status_code == 200
    assert sent_back(emulator) == ["text"]


# ---- Room to think --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "thinks"),
    [
        ("claude-v3.7-sonnet", 1_024),
        ("claude-v4.5-opus", 1_024),
        ("claude-v4.6-sonnet", 8_192),
        ("claude-v4.7-opus", 8_192),
        ("gpt-oss-20b", 8_192),
        ("gpt-oss-120b", 8_192),
        ("deepseek-r1", 4_096),  # it writes no more than 8,192
    ],
)
def test_long_thinking_leaves_the_whole_answer(alice: APIClient, emulator: Emulator, model: str, thinks: int) -> None:
    emulator.script(thinks=thinks, words=4_096)
    assert say(alice, "c1", "why?", model=model, enable_reasoning=True).status_code == 200
    conversation = read(alice, "c1")
    answer = conversation["messageMap"][conversation["lastMessageId"]]
    assert len(text_of(answer).split()) == 4_096
    assert conversation["shouldContinue"] is False
