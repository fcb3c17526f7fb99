"""A request that is read directly gives what the serializer would have made of it; all else is the serializer's."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any

import orjson
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rest_framework.exceptions import ValidationError

from bedrock_chat.bedrock.catalog import MODELS
from bedrock_chat.wire import parsers
from bedrock_chat.wire.errors import as_api_error
from bedrock_chat.wire.ids import ID_LENGTH
from bedrock_chat.wire.names import snake, to_snake
from conversations import serializers
from conversations.content import parsing
from conversations.turn import reading
from conversations.turn.types import ChatInput
from tests.hostile.bodies import document, image, result, text, tool_use, turn
from tests.pictures import b64, picture

PICTURE = image(b64(picture()))
RESULT = result(
    [
        {"text": "It rains."},
        {"json": {"isWet": True}},
        {"format": "png", "image": b64(picture())},
        {"format": "txt", "document": b64(b"rain"), "name": "weather"},
    ]
)
REASONING = {"contentType": "reasoning", "text": "Hm.", "signature": "c2ln", "redactedContent": ""}
BLOCKS = st.sampled_from(
    [text("Hello!"), text(""), text(" \n"), PICTURE, document("a.pdf", 8), tool_use({"aB": {"c_d": 1}}), RESULT]
)
NAMES = ["a", "é 1", "system", "", " ", ".", "..", "a/b", "a/title", "related-documents", "x\ny", "x\0", "x\ud800"]
NAMES += ["a" * ID_LENGTH, "a" * (ID_LENGTH + 1), *list(MODELS)[:2], "user", "assistant", "text", "true", "1"]
VALUES = [*NAMES, None, True, False, 0, 1, -1, 10**30, 1.0, [], {}, ["a"], {"a": 1}, [text("a")], [{}]]
"""What may stand where something else is wanted."""
MISSING = object()
ODD = st.sampled_from(VALUES)
UNKNOWN = ["Content", "conversationID", "input", "json", "url", "__class__", "", "a" * 100]


def optional_id(good: str) -> st.SearchStrategy[str | None]:
    return st.sampled_from([good, None])


VALID = st.fixed_dictionaries(
    {
        "conversationId": st.sampled_from(["c", "é 1", "a" * ID_LENGTH]),
        "message": st.fixed_dictionaries(
            {"content": st.lists(BLOCKS, max_size=4), "model": st.sampled_from(sorted(MODELS))},
            optional={
                "role": st.just("user"),
                "messageId": optional_id("q"),
                "parentMessageId": st.sampled_from(["system", "", None, "a/b", "a" * ID_LENGTH]),
            },
        ),
    },
    optional={
        "botId": st.sampled_from(["bot", "", None]),
        "continueGenerate": st.booleans(),
        "enableReasoning": st.booleans(),
        "unknown": st.sampled_from(["a", 1, None, [{}]]),
    },
)


def objects_in(value: Any) -> Iterator[dict[str, Any]]:
    """A body, and every object inside."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects_in(inner)


@st.composite
def nearly_valid(draw: st.DrawFn) -> Any:
    """A body with up to three faults: fields that are odd, missing, spelled in snake_case or twice, or not known."""
    body = copy.deepcopy(draw(VALID))  # what is drawn is shared between examples, and changed below
    for _ in range(draw(st.integers(0, 3))):
        target = draw(st.sampled_from(list(objects_in(body))))
        name = draw(st.sampled_from([*target, *UNKNOWN]))
        match draw(st.sampled_from(["odd", "missing", "snake_case", "twice", "again and again"])):
            case "odd":
                target[name] = copy.deepcopy(draw(ODD))
            case "missing":
                target.pop(name, None)
            case "snake_case" if name in target:
                target[snake(name)] = target.pop(name)
            case "twice":
                target[snake(name)] = copy.deepcopy(draw(ODD))
            case "again and again" if isinstance(target.get(name), list):
                target[name] = target[name] * draw(st.sampled_from([6, 21, 65]))
    return draw(ODD) if draw(st.integers(0, 49)) == 0 else body


def outcome(read: Callable[[Any], ChatInput], body: Any) -> Any:
    """The input with the types of its values (`1` is no `True`), or the refusal as clients read it."""
    try:
        chat = read(body)
    except ValidationError as error:
        return as_api_error(error).errors
    except UnicodeEncodeError:
        return "A lone surrogate, which the parser refuses before."
    return [(field.name, type(getattr(chat, field.name)), getattr(chat, field.name)) for field in fields(chat)]


def same_as_the_serializer(sent: Any) -> None:
    body = to_snake(sent)
    assert outcome(serializers.read_chat_input, body) == outcome(serializers.validated, body)


BODY = ["conversationId", "message", "botId", "continueGenerate", "enableReasoning"]
MESSAGE = ["role", "content", "model", "messageId", "parentMessageId"]


@pytest.mark.parametrize(
    ("where", "name"), [*(("body", name) for name in BODY), *(("message", name) for name in MESSAGE)]
)
def test_whatever_a_field_holds_is_read_or_refused_as_the_serializer_does(where: str, name: str) -> None:
    for value in [*VALUES, MISSING]:
        body = turn([text("Hello!")])
        target = body if where == "body" else body["message"]
        target[name] = value
        if value is MISSING:
            del target[name]
        same_as_the_serializer(body)


@given(nearly_valid())
@settings(max_examples=250, deadline=None)
@example(turn([text("a\ud800")], botId="x\ud800"))
@example(turn([text("a")], continueGenerate=1, enableReasoning=0))
@example(turn([text("a")], continueGenerate="true", enableReasoning="false"))
def test_whatever_is_sent_is_read_or_refused_as_the_serializer_does(sent: Any) -> None:
    same_as_the_serializer(sent)


@given(VALID)
@settings(max_examples=100, deadline=None)
def test_what_a_client_sends_as_documented_needs_no_serializer(sent: Any) -> None:
    assert reading.read(parsers.parse(orjson.dumps(sent))) is not None


@pytest.mark.parametrize(
    ("content", "is_read"),
    [
        ([text("a")] * 64, True),
        ([text("a")] * 65, False),
        ([PICTURE] * 20, True),
        ([PICTURE] * 21, False),
        ([document("a.csv", 8)] * 5, True),
        ([document("a.csv", 8)] * 6, False),
        ([text("a" * parsing.MAX_TEXT_BYTES)], True),
        ([text("a" * (parsing.MAX_TEXT_BYTES + 1))], False),
        ([text("é" * (parsing.MAX_TEXT_BYTES // 2)), text("é")], False),
        ([tool_use({"a": "a" * parsing.MAX_TOOL_BYTES})], False),
        ([text("a"), result([{"format": "png", "image": b64(picture())}] * 21)], False),
        ([text("a"), REASONING], False),
        ([image(b64(b"no image"))], False),
    ],
)
def test_a_message_that_holds_too_much_is_refused_as_by_the_serializer(content: Any, is_read: bool) -> None:
    body = to_snake(turn(content))
    assert isinstance(outcome(serializers.read_chat_input, body)[0], tuple) is is_read
    same_as_the_serializer(body)
