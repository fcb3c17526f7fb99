"""Responses: JSON for everybody, snake_case for clients that ask for it, and never a 406."""

import json
from typing import Any

import pytest
from django.test import Client
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request

from bedrock_chat.wire.renderers import Negotiation, WireRenderer, dumps
from tests.wire.urls import Events

CAMEL = {"itemId": "1", "messageMap": {"an_id": {"lastMessageId": 1}}}
SNAKE = {"item_id": "1", "message_map": {"an_id": {"last_message_id": 1}}}


@pytest.mark.parametrize(
    ("accept", "body"),
    [
        (None, CAMEL),
        ("*/*", CAMEL),
        ("application/json", CAMEL),
        ("text/html,application/xhtml+xml;q=0.9", CAMEL),
        ("image/png", CAMEL),
        ("", CAMEL),
        (";;;,/,a/b/c; x*=nope''y", CAMEL),
        ("application/json; case=camel", CAMEL),
        ("application/json; case=snake", SNAKE),
        ("application/json;case=snake", SNAKE),
        ('application/json; Case="snake"', SNAKE),
        ("text/plain, application/json; q=0.5; case=snake", SNAKE),
    ],
)
def test_json_is_answered_whatever_a_client_accepts(client: Client, accept: str | None, body: Any) -> None:
    response = client.get("/items/1", headers={} if accept is None else {"Accept": accept})
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert response.json() == body


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("text/event-stream", Events),
        ("text/event-stream, */*", Events),
        ("text/*", Events),
        ("application/json;q=0.5, text/event-stream", Events),
        ("application/json, text/event-stream", WireRenderer),
        ("text/event-stream;q=0.1, application/json", WireRenderer),
        ("application/json; case=snake, text/event-stream;q=0.9", WireRenderer),
        ("text/event-stream;q=0", WireRenderer),
        ("text/event-stream;q=0, */*", WireRenderer),
        ("image/png", WireRenderer),
        ("*/*", WireRenderer),
        ("x/y; z*=nope''z, text/event-stream", Events),
    ],
)
def test_an_event_stream_goes_to_who_prefers_it(rf: Any, accept: str, chosen: type[BaseRenderer]) -> None:
    request = Request(rf.get("/", headers={"Accept": accept}))
    renderer, media_type = Negotiation().select_renderer(request, [WireRenderer(), Events()])
    assert (type(renderer), media_type) == (chosen, chosen.media_type)


def test_a_view_with_nothing_to_say_answers_null(client: Client) -> None:
    response = client.delete("/items/1")
    assert (response.status_code, response["Content-Type"], response.content) == (200, "application/json", b"null")


@pytest.mark.parametrize("value", [10**30, "half a pair: \ud83d", {1: "a key that is no string"}])
def test_what_a_model_may_put_into_a_tools_input_can_be_answered(value: object) -> None:
    written = json.loads(dumps({"input": value}))["input"]
    assert written == ({"1": "a key that is no string"} if isinstance(value, dict) else value)
