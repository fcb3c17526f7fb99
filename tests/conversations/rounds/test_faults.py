"""Whatever goes wrong with a call is an error result of one sentence: the turn goes on, and so does the conversation.

`SOAK=1`, as `make soak` sets it, makes 300 faults.
"""

import json
import os
import random
from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import pytest
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ToolCall
from tests.bots.bot import firecrawl, make
from tests.bots.test_parts import BASE
from tests.bots.tools.engines import Engines
from tests.conversations.chat import say
from tests.conversations.rounds.served import forget, served
from tests.conversations.rounds.tooling import calls, in_rounds
from tests.emulator import Emulator

__all__ = ["served"]

FAULTS = 300 if os.environ.get("SOAK") else 30
KEY: Final = "fc-seeded-0123456789"
MODELS: Final = ("claude-v3.7-sonnet", "amazon-nova-pro", "llama3-3-70b-instruct")
FAULTS_OF_A_CONVERSATION: Final = 4
SUCCESSES: Final = ("success",)


@dataclass(frozen=True)
class Fault:
    """A bot's answer to `prompt` ends with these outcomes of its calls."""

    bot: str
    prompt: str
    outcomes: tuple[str, ...]


def search(word: str = "", query: str = "tides") -> str:
    return calls(("internet_search", {"query": f"{query} (({word}))" if word else query}))


def engine(word: str, outcome: str, bot: str = "engine") -> Fault:
    return Fault(bot, search(word), (outcome,))


def agent(fate: str, outcome: str) -> Fault:
    return Fault(f"agent-{fate}", calls(("bedrock_agent", {"query": "q"})), (outcome,))


def base(fate: str, outcome: str) -> Fault:
    return Fault(f"base-{fate}", calls(("knowledge_base_tool", {"query": "q"})), (outcome,))


def raw(name: str, value: str) -> str:
    return f"[[use:{json.dumps({'name': name, 'raw': value})}]]"


def same_id(query: str) -> str:
    use = {"name": "internet_search", "input": {"query": query}, "id": "tooluse_same"}
    return f"[[use:{json.dumps(use)}]]"


KINDS: Final = {
    "a tool that is not known": Fault("engine", calls(("nobodys", {"query": "q"})), ("refused",)),
    "a name that is illegal": Fault("engine", raw("no such/tool é", '{"query":"q"}'), ("refused",)),
    "an input that is no JSON": Fault("engine", raw("internet_search", '{"query":'), ("refused",)),
    "an input that does not fit": Fault("engine", calls(("internet_search", {"words": 1})), ("refused",)),
    "an id that was used": Fault("engine", in_rounds(same_id("one"), same_id("two")), SUCCESSES * 2),
    "the same call again and again": Fault("engine", in_rounds(*[search()] * 3), (*SUCCESSES * 2, "refused")),
    "nine calls at once": Fault(
        "engine", " ".join(search(query=str(number)) for number in range(9)), (*SUCCESSES * 8, "refused")
    ),
    "401": engine("401", "denied"),
    "403": engine("403", "denied"),
    "credits used up": engine("402", "denied"),
    "429": engine("429", "throttled"),
    "500": engine("500", "failed"),
    "a redirect": engine("redirect", "failed"),
    "an answer that is packed": engine("gzip", "unreadable"),
    "an answer without end": engine("endless", "too_large"),
    "an answer that is no JSON": engine("broken", "unreadable"),
    "nothing found": engine("nothing", "empty"),
    "a hang": engine("hang", "timeout", "hasty"),
    "a stream that drips": engine("drip", "timeout", "hasty"),
    "a server that is away": engine("", "unreachable", "away"),
    "an agent that is gone": agent("GONE000001", "missing"),
    "an agent that answers nothing": agent("EMPTY00001", "empty"),
    "an agent that is throttled": agent("THROTTLED1", "throttled"),
    "an agent that wants control": agent("RETURN0001", "failed"),
    "an agent that fails in mid-stream": agent("FAULT00001", "failed"),
    "an agent whose stream breaks": agent("CUT0000001", "failed"),
    "a base that is gone": base("GONE000001", "missing"),
    "a base that is empty": base("EMPTY00001", "empty"),
    "a base that is throttled": base("THROTTLED1", "throttled"),
    "a base that is denied": base("DENIED0001", "denied"),
}


def make_bots(alice: APIClient) -> None:
    for name in ("engine", "away"):
        make(alice, name, agent=firecrawl(KEY))
    make(alice, "hasty", agent=firecrawl(KEY), toolSeconds=1)
    for name in {fault.bot for fault in KINDS.values()}:
        kind, _, fate = name.partition("-")
        if kind == "agent":
            config = {"agentId": fate, "aliasId": "TSTALIASID"}
            tool = {"toolType": "bedrock_agent", "name": "bedrock_agent", "description": "d"}
            make(alice, name, agent={"tools": [{**tool, "bedrockAgentConfig": config}]})
        elif kind == "base":
            make(alice, name, bedrockKnowledgeBase={**BASE, "existKnowledgeBaseId": fate})


def test_at_least_twenty_kinds_of_faults_are_tried() -> None:
    assert len(KINDS) >= 20
    assert len(KINDS) <= FAULTS


@pytest.mark.slow
@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_faults_of_every_kind_in_conversations_that_go_on(
    alice: APIClient, emulator: Emulator, served: Engines, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """They come in any order, to models of several makers, into conversations that have had others before."""
    make_bots(alice)
    chosen = [list(KINDS)[number % len(KINDS)] for number in range(FAULTS)]
    random.shuffle(chosen)
    conversations: Counter[str] = Counter()
    for number, kind in enumerate(chosen):
        fault = KINDS[kind]
        settings.FIRECRAWL_URL = "http://127.0.0.1:1" if fault.bot == "away" else served.url
        settings.OUTBOUND_ALLOW = ((), frozenset({("127.0.0.1", served.port), ("127.0.0.1", 1)}))
        forget()
        conversation = f"{fault.bot}-{conversations[fault.bot] // FAULTS_OF_A_CONVERSATION}"
        conversations[fault.bot] += 1
        before = set(ToolCall.objects.values_list("pk", flat=True))
        where = f"{number}: {kind} in {conversation}"
        answer = say(alice, conversation, fault.prompt, bot_id=fault.bot, model=random.choice(MODELS))
        assert answer.status_code == 200, (where, answer.content)
        rows = ToolCall.objects.exclude(pk__in=before).order_by("pk")
        outcomes = [row.outcome for row in rows]
        assert sorted(outcomes) == sorted(fault.outcomes), where
        _is_told_in_a_sentence(answer.json()["message"], fault.outcomes, where)
        assert say(alice, conversation, "and now?", model=random.choice(MODELS)).status_code == 200, where
    assert [request for request in emulator.requests() if request["status"] == 400] == [], "no prompt is refused"
    assert KEY not in caplog.text


def _is_told_in_a_sentence(message: dict[str, Any], outcomes: tuple[str, ...], where: str) -> None:
    bodies = [block["body"] for results in message["thinkingLog"][1::2] for block in results["content"]]
    assert len({body["toolUseId"] for body in bodies}) == len(bodies) == len(outcomes), where
    errors = [body["content"] for body in bodies if body["status"] == "error"]
    assert len(errors) == sum(outcome != "success" for outcome in outcomes), where
    for content in errors:
        [part] = content
        assert 5 < len(part["text"]) < 300, where
        assert "\n" not in part["text"], where
    assert message["content"], where
