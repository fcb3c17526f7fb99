"""Runs turns in child processes that kill themselves with SIGKILL, at a statement or an event of the turn.

`test_one_truth` starts this program on its own database: `python -m tests.ledger.killed_turns USER < turns`, where
`turns` is a JSON list of `[conversation, text, "statement" or "event", number]`. Groups and bots are not the user's.
"""

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
from conversations.turn import lifecycle  # noqa: E402
from conversations.turn.types import ChatInput  # noqa: E402
from tests.conversations.chat import MODEL  # noqa: E402


def run(user: str, conversation: str, text: str, *, kind: str, number: int) -> None:
    statements = 0

    def before(execute, sql, params, many, context):
        nonlocal statements
        statements += 1
        if kind == "statement" and statements == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)

    chat = ChatInput(
        conversation_external_id=conversation,
        model=catalog.find(MODEL),
        content=Content([{"contentType": "text", "body": text}], {}),
        message_external_id=f"killed-{conversation}",
    )
    actor = Caller(user_id=user, groups=frozenset({"staff"}))
    with connection.execute_wrapper(before):
        for event, _ in enumerate(lifecycle.run(chat, actor=actor, listener=object())):
            if kind == "event" and event == number:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    for conversation, text, kind, number in json.load(sys.stdin):
        pid = os.fork()
        if pid == 0:
            try:
                run(sys.argv[1], conversation, text, kind=kind, number=number)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)


main()
