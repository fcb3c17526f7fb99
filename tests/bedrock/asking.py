"""Calls a model in tests."""

from typing import Any

from bedrock_chat.bedrock import catalog, runtime
from bedrock_chat.bedrock.events import Event
from bedrock_chat.bedrock.request import ModelRequest
from tests.bedrock.scripted import HELLO, Play, Stream, says


def request_to_model(text: str = "Hello", *, streamable: bool = True) -> ModelRequest:
    body: dict[str, Any] = {"messages": [{"role": "user", "content": [{"text": text}]}]}
    target = catalog.Target(model_id="us.anthropic.claude-3-7-sonnet-20250219-v1:0", region="us-east-1", geography="us")
    return ModelRequest(catalog.find("claude-v3.7-sonnet"), target, body, streamable)


def ask(request: ModelRequest | None = None, *, stream: bool, into: list[Event] | None = None) -> list[Event]:
    """All events of a call. They are added to `into`, so a test can read those that came before a fault."""
    events = [] if into is None else into
    events.extend(runtime.call(request or request_to_model(), stream=stream))
    return events


def hello(*, stream: bool) -> Play:
    return Stream(HELLO) if stream else says({"text": "Hello"})


def kinds(events: list[Event]) -> list[type]:
    return [type(event) for event in events]
