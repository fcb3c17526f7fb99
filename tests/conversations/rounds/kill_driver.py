"""Runs turns of five rounds in child processes that are killed at random points, and asks again until all are answered.

`test_kills` starts this program on its own database. It prints what it saw as JSON: how many were killed, and the
results that were stored when a child had been killed.
"""

import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import django

django.setup()

from django.db import connections  # noqa: E402

from bedrock_chat.bedrock import catalog  # noqa: E402
from bedrock_chat.identity.caller import Caller  # noqa: E402
from bedrock_chat.ledger.models import ModelCall  # noqa: E402
from bots.tools import kinds, results  # noqa: E402
from bots.tools.tool import Context, Result, TextPart, Tool  # noqa: E402
from conversations.content.blocks import Content  # noqa: E402
from conversations.models import Message  # noqa: E402
from conversations.turn import lifecycle  # noqa: E402
from conversations.turn.types import ChatInput  # noqa: E402

ROUNDS = 5
AT_ONCE = 5
KILLED_ATTEMPTS = 3
EVENTS = 55
"""About as many as a turn has. A child is killed some time after one of them."""
LONGEST_AFTER = 0.05
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"query": {"type": "string"}}}


def tools_writing_to(path: Path) -> list[Tool]:
    """A tool that only reads, and one that writes. Each notes in a file that it has run, when its work is done."""

    def made(name: str, *, read_only: bool) -> Tool:
        def run(value: Mapping[str, Any], context: Context) -> Result:
            time.sleep(random.uniform(0, 0.02))
            with path.open("a") as lines:
                lines.write(f"{name} {context.conversation_external_id} {value['query']}\n")
            time.sleep(random.uniform(0, 0.02))
            return results.of([TextPart(f"{name} {value['query']}")])

        return Tool(name, f"It can {name}.", SCHEMA, "internet", read_only, "here", None, run)

    return [made("read", read_only=True), made("write", read_only=False)]


def prompt() -> str:
    return "[[then]]".join(
        f'[[tool:read:{{"query":"{number}"}}]] [[tool:write:{{"query":"{number}"}}]]' for number in range(ROUNDS)
    )


def run(user: str, conversation: str, *, killed: bool) -> None:
    """Runs a turn in this process, which may kill itself at a random moment."""
    chat = ChatInput(
        conversation_external_id=conversation,
        model=catalog.find("claude-v3.7-sonnet"),
        content=Content([{"contentType": "text", "body": prompt()}], {}),
        message_external_id=f"q-{conversation}",
        bot_id="b",
    )
    last = random.randint(0, EVENTS) if killed else -1
    for number, _ in enumerate(lifecycle.run(chat, actor=Caller(user_id=user), listener=None)):
        if number == last:
            after = random.uniform(0, LONGEST_AFTER)
            threading.Timer(after, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()


def wave(user: str, conversations: list[str], *, killed: bool) -> list[str]:
    """Runs the turns of some conversations, a few at a time. Returns those that have no answer."""
    left: list[str] = []
    for start in range(0, len(conversations), AT_ONCE):
        children: dict[int, str] = {}
        for conversation in conversations[start : start + AT_ONCE]:
            pid = os.fork()
            if pid == 0:
                random.seed()
                status = 1
                try:
                    run(user, conversation, killed=killed)
                    status = 0
                finally:
                    os._exit(status)
            children[pid] = conversation
        for pid, conversation in children.items():
            status = os.waitpid(pid, 0)[1]
            if not os.WIFSIGNALED(status) and os.waitstatus_to_exitcode(status):
                raise SystemExit(f"{conversation} failed")
            if status:
                left.append(conversation)
    return left


def stored_results(conversations: list[str]) -> Iterator[dict[str, Any]]:
    """The calls of each conversation that have their result, and how many rounds are stored and in the ledger."""
    for conversation in conversations:
        question = Message.objects.filter(external_id=f"q-{conversation}").first()
        stored = (question.rounds if question else None) or []
        calls = [call for one in stored for call in one["calls"] if call["status"] != "running"]
        yield {
            "conversation": conversation,
            "results": {call["toolUseId"]: call["content"] for call in calls},
            "rounds": len(stored),
            "paid": ModelCall.objects.filter(conversation_external_id=conversation).count(),
        }
    connections.close_all()


def main() -> None:
    user, count, path = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    tools = tools_writing_to(path)
    kinds.of_bot = lambda configuration: iter(tools)
    lease = float(os.environ["TURN_LEASE_SECONDS"])
    left = [f"c{number}" for number in range(count)]
    kills, seen = 0, []
    for attempt in range(KILLED_ATTEMPTS + 1):
        left = wave(user, left, killed=attempt < KILLED_ATTEMPTS)
        kills += len(left)
        seen += list(stored_results(left))
        if left:
            time.sleep(lease + 0.1)
    print(json.dumps({"kills": kills, "seen": seen, "left": left}))


main()
