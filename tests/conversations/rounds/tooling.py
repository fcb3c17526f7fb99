"""Bots with tools of a test's own, and what the model is asked to do with them."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from rest_framework.test import APIClient

from bots.tools import kinds, results
from bots.tools.tool import Context, Result, TextPart, Tool
from tests.bots import bot as bots

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"query": {"type": "string"}},
    "required": ["query"],
}
Run = Callable[[Mapping[str, Any], Context], Result]


def answer_of(value: Mapping[str, Any], context: Context) -> Result:
    return results.of([TextPart(f"found {value['query']}")])


def tool(
    name: str = "search",
    run: Run = answer_of,
    *,
    read_only: bool = True,
    seconds: int | None = None,
    server: str = "here",
    interruptible: bool = True,
) -> Tool:
    return Tool(name, f"The tool {name}.", SCHEMA, "internet", read_only, server, seconds, run, interruptible)


class Recorder:
    """A tool's function that notes its inputs, and the threads that it ran on."""

    def __init__(self, run: Run = answer_of, *, wait: float = 0.0) -> None:
        self.inputs: list[Any] = []
        self.threads: list[str] = []
        self._run = run
        self._wait = wait

    def __call__(self, value: Mapping[str, Any], context: Context) -> Result:
        self.inputs.append(dict(value))
        self.threads.append(threading.current_thread().name)
        if self._wait and context.interruption.wait(self._wait):
            return results.error("search", "It was ended.", "stopped")
        return self._run(value, context)


def waiting_for(event: threading.Event) -> Run:
    """A tool that ends when the event is set, or when it is ended."""

    def run(value: Mapping[str, Any], context: Context) -> Result:
        until = time.monotonic() + 30
        while not event.is_set() and not context.interruption.requested and time.monotonic() < until:
            event.wait(0.01)
        return answer_of(value, context)

    return run


def offering(monkeypatch: pytest.MonkeyPatch, *tools: Tool) -> None:
    """Every bot that has tools has these, as if they were of a kind of its own."""

    def of_bot(configuration: Any) -> Iterator[Any]:
        return iter(tools if configuration["tools"] else ())

    monkeypatch.setattr(kinds, "of_bot", of_bot)


PLAIN = {"toolType": "plain", "name": "search", "description": "Search."}


def make_bot(client: APIClient, bot_id: str = "b", **fields: Any) -> str:
    bots.make(client, bot_id, agent={"tools": [PLAIN]}, **fields)
    return bot_id


def calls(*uses: tuple[str, Mapping[str, Any]]) -> str:
    """The markers with which the emulated model asks for tools in one round."""
    return " ".join(f"[[tool:{name}:{json.dumps(value)}]]" for name, value in uses)


def in_rounds(*rounds: str) -> str:
    """A prompt whose markers are for the rounds one after another."""
    return "[[then]]".join(rounds)


def sent(emulator: Any) -> list[list[dict[str, Any]]]:
    """The messages of each call to a model."""
    return [request["body"]["messages"] for request in emulator.requests()]
