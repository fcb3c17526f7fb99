"""Chatting with a bot: what goes to the model, who may, and what the conversation keeps."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from tests.bots.bot import PARAMETERS, body, make
from tests.conversations.chat import say

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]


def asked(client: APIClient, conversation: str, text: str = "hello", **fields: Any) -> Any:
    return body(say(client, conversation, text, **fields))


def test_instruction_and_parameters_go_to_the_model(alice: APIClient, requests_sent: Callable[[], list[Any]]) -> None:
    make(alice, "b", generationParams=PARAMETERS)
    answer = asked(alice, "c", bot_id="b")
    assert answer["botId"] == "b"
    [request] = requests_sent()
    assert request["system"][0] == {"text": "You are b."}
    assert request["inferenceConfig"] == {"maxTokens": 2000, "temperature": 0.5, "topP": 0.9, "stopSequences": ["STOP"]}
    assert request["additionalModelRequestFields"] == {"top_k": 100}
    assert ModelCall.objects.get().bot_id == "b"
