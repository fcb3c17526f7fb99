"""Stops at random moments of calls: each ends within a second, leaves its rows, and the conversation goes on.

`SOAK=1`, as `make soak` sets it, makes 200 stops.
"""

import os
import random
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ToolCall
from bots.tools import agent, kinds, results
from bots.tools.tool import Context, Result, TextPart, Tool
from conversations.models import Message, Role
from conversations.turn import registry, tool_calls
from tests.bots.bot import firecrawl, make
from tests.bots.test_parts import BASE
from tests.bots.tools.engines import Engines
from tests.conversations.chat import say, text_of
from tests.conversations.rounds.served import forget, served
from tests.conversations.rounds.tooling import SCHEMA, calls, in_rounds
from tests.emulator import Emulator
from tests.together import wait_for

__all__ = ["served"]

STOPS = 200 if os.environ.get("SOAK") else 20
LATEST: Final = 0.15
"""Seconds after a round's calls have begun: some of them are waiting then, and others not yet."""
AGENT: Final = {
    "toolType": "bedrock_agent",
    "name": "bedrock_agent",
    "description": "d",
    "bedrockAgentConfig": {"agentId": "HANG000001", "aliasId": "TSTALIASID"},
}
CALLS: Final = {
    "heeds": ("heeds", {"query": "q"}),
    "is left to itself": ("deaf", {"query": "q"}),
    "waits for an engine": ("internet_search", {"query": "tides ((hang))"}),
    "waits for a stream that drips": ("internet_search", {"query": "tides ((drip))"}),
    "waits for an agent": ("bedrock_agent", {"query": "q"}),
    "waits for a base": ("knowledge_base_tool", {"query": "q"}),
    "ends at once": ("quick", {"query": "q"}),
}
WAITING: Final = [name for name in CALLS if name != "ends at once"]


class Stopper:
    """Stops the turn a random moment after the first of its waiting tools has begun."""

    def __init__(self) -> None:
        self.stopped_at = 0.0
        self.watch = threading.Thread(target=self._stop)

    def _stop(self) -> None:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            begun = [running for running in registry.all_running() if len(running.rounds) == self.round]
            if begun:
                time.sleep(random.uniform(0, LATEST))
                self.stopped_at = time.monotonic()
                registry.stop(*begun[0].key)
                return
            time.sleep(0.002)

    def __call__(self, number: int) -> None:
        self.round = number
        self.watch.start()


@pytest.fixture
def over(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Beside a bot's own tools: one that heeds its end, one that does not, and one that waits for nothing."""
    over, of_bot = threading.Event(), kinds.of_bot
    monkeypatch.setattr(agent, "DESCRIPTION_SECONDS", 0.0)  # the agent hangs there, too

    def heeds(value: Mapping[str, Any], context: Context) -> Result:
        context.interruption.wait(30)
        return results.error("heeds", "It was ended.", "stopped")

    def deaf(value: Mapping[str, Any], context: Context) -> Result:
        over.wait(30)
        return results.of([TextPart("late")])

    def quick(value: Mapping[str, Any], context: Context) -> Result:
        return results.of([TextPart("quick")])

    own = [
        Tool("heeds", "d", SCHEMA, "internet", False, "here", None, heeds),
        Tool("deaf", "d", SCHEMA, "internet", False, "here", None, deaf, is_interruptible=False),
        Tool("quick", "d", SCHEMA, "internet", True, "here", None, quick),
    ]
    monkeypatch.setattr(kinds, "of_bot", lambda configuration: iter([*of_bot(configuration), *own]))
    yield over
    over.set()


@pytest.mark.slow
@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_stops_in_calls_of_every_kind(
    alice: APIClient, emulator: Emulator, served: Engines, over: threading.Event
) -> None:
    tools = [*firecrawl("fc-seeded-0123456789")["tools"], AGENT]
    make(alice, "b", agent={"tools": tools}, bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": "HANG000001"})
    slow: list[tuple[float, str]] = []
    for number in range(STOPS):
        forget()
        chosen = [WAITING[number % len(WAITING)], *random.choices(list(CALLS), k=random.randint(0, 3))]
        random.shuffle(chosen)
        earlier = random.randint(0, 1)
        round_of_stop = calls(*(CALLS[name] for name in chosen))
        prompt = in_rounds(*[calls(CALLS["ends at once"])] * earlier, round_of_stop)
        stopper = Stopper()
        stopper(earlier + 1)
        response = say(alice, f"c{number // 4}", prompt, bot_id="b")
        ended = time.monotonic()
        stopper.watch.join()
        where = f"{number}: {chosen}"
        assert response.status_code == 200, (where, response.content)
        slow.append((ended - stopper.stopped_at, where))
        message = response.json()["message"]
        assert (text_of(message), message["stopReason"]) == ("Let me look that up.", "stopped"), where
        assert [block["contentType"] for block in message["content"]] == ["text"], where
        bodies = [block["body"] for one in message["thinkingLog"][1::2] for block in one["content"]]
        assert len(bodies) == earlier + len(chosen), where
        assert {body["status"] for body in bodies[earlier:]} <= {"success", "error"}, where
        question = Message.objects.filter(role=Role.USER).order_by("-pk")[0]
        assert (question.rounds, question.outcome) == (None, "answered"), where
        rows = ToolCall.objects.filter(message_external_id=question.external_id)
        assert rows.count() == len(bodies), (where, list(rows.values_list("tool", "outcome")))
        assert rows.exclude(outcome__in=("stopped", "success", "refused")).count() == 0, where
        assert say(alice, f"c{number // 4}", "next", bot_id="b").status_code == 200, where
    assert [request for request in emulator.requests() if request["status"] == 400] == [], "no prompt is refused"
    assert max(slow)[0] < 1, max(slow)
    over.set()
    wait_for(lambda: tool_calls.pool().busy == 0)
