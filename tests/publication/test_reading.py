"""A question that is read directly is what the serializer would have made of it; all else is the serializer's."""

from collections.abc import Callable
from dataclasses import fields
from typing import Any

import orjson
import pytest
from rest_framework.exceptions import ValidationError

from bedrock_chat.wire import parsers
from bedrock_chat.wire.errors import as_api_error
from bedrock_chat.wire.ids import ID_LENGTH
from bedrock_chat.wire.names import to_snake
from publication.accepting import Question
from publication.models import LABEL_LENGTH
from publication.serializers import published
from tests.publication.api import question

NAMES = ["a", "é 1", "", " ", ".", "..", "a/b", "related-documents", "x\ny", "x\0", "a" * ID_LENGTH]
NAMES += ["a" * (ID_LENGTH + 1), "a" * LABEL_LENGTH, "a" * (LABEL_LENGTH + 1), "claude-v3.7-sonnet", "true", "1"]
VALUES = [*NAMES, None, True, False, 0, 1, 10**30, 1.0, [], {}, ["a"], {"a": 1}, question()["message"]["content"], [{}]]
MISSING = object()


def outcome(read: Callable[[Any], Question], sent: Any) -> Any:
    """What was asked, with the types of its values (`1` is no `True`), or the refusal as clients read it."""
    try:
        question = read(sent)
    except ValidationError as error:
        return as_api_error(error).errors
    return [
        (field.name, type(getattr(question, field.name)), getattr(question, field.name)) for field in fields(question)
    ]


@pytest.mark.parametrize(
    "name", ["conversationId", "message", "continueGenerate", "enableReasoning", "userLabel", "content", "model"]
)
def test_whatever_a_field_holds_is_read_or_refused_as_the_serializer_does(name: str) -> None:
    for value in [*VALUES, MISSING]:
        sent = question(conversationId="c", userLabel="u")
        target = sent["message"] if name in ("content", "model") else sent
        target[name] = value
        if value is MISSING:
            del target[name]
        read = to_snake(sent)
        assert outcome(published.read_question, read) == outcome(published.validated, read)


@pytest.mark.parametrize("sent", [None, [], "a", 1, {}])
def test_what_is_no_question_is_refused_as_the_serializer_does(sent: Any) -> None:
    assert outcome(published.read_question, sent) == outcome(published.validated, sent)


def test_what_a_client_sends_as_documented_needs_no_serializer() -> None:
    for optional in ({}, {"conversationId": "c", "userLabel": "customer 4711", "enableReasoning": True}):
        sent = parsers.parse(orjson.dumps(question(**optional)))
        assert published.read_directly(sent) == published.validated(sent)
