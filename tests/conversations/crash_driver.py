"""Runs turns in child processes that kill themselves with SIGKILL: before each SQL statement, and at each event.

There are plain turns, and turns with a listener, which get a checkpoint after each event. `test_crash` starts this
program on its own database. It prints the steps as JSON: conversation id → the step at which the child died.
"""

import itertools
import json
import os
import signal
import sys

import django

django.setup()

from django.db import connection  # noqa: E402

from bedrock_chat.bedrock import catalog  # noqa: E402
from bedrock_chat.identity.caller import Caller  # noqa: E402
from conversations.content.blocks import Content  # noqa: E402
from conversations.turn import checkpoints, lifecycle  # noqa: E402
from conversations.turn.types import ChatInput  # noqa: E402


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(user: str, conversation: str, *, listened: bool, statement: int | None, event: int | None) -> int:
    """Runs a turn, and kills this process at the given statement or event. Returns the number of SQL statements."""
    statements = 0

    def before(execute, sql, params, many, context):
        nonlocal statements
        statements += 1
        if statements == statement:
            die()
        return execute(sql, params, many, context)

    chat = ChatInput(
        conversation_external_id=conversation,
        model=catalog.find("claude-v3.7-sonnet"),
        content=Content([{"contentType": "text", "body": "hello"}], {}),
        message_external_id="q1",
    )
    with connection.execute_wrapper(before):
        for number, _ in enumerate(
            lifecycle.run(chat, actor=Caller(user_id=user), listener=object() if listened else None)
        ):
            if listened:
                checkpoints.write()
            if number == event:
                die()
    return statements


def child(
    user: str, conversation: str, *, listened: bool, statement: int | None = None, event: int | None = None
) -> int:
    """Runs a turn in a forked child. Returns the child's wait status."""
    pid = os.fork()
    if pid == 0:
        run(user, conversation, listened=listened, statement=statement, event=event)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def main() -> None:
    user = sys.argv[1]
    died = {}
    for listened, kind in itertools.product((False, True), ("statement", "event")):
        for number in range(1 if kind == "statement" else 0, 100):
            conversation = f"{'listened' if listened else 'plain'}-{kind}-{number}"
            status = child(user, conversation, listened=listened, **{kind: number})
            if not os.WIFSIGNALED(status):
                assert os.waitstatus_to_exitcode(status) == 0
                break
            died[conversation] = conversation
    print(json.dumps(died))


main()
