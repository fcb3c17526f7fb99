"""The passages of a bot's knowledge that fit a question, for models that take no tools and cannot search themselves."""

import time
from typing import Final

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.database.connections import release_connection
from bots.chatting import ChattingBot
from bots.tools import knowledge, prompting
from bots.tools.prompting import Passages
from bots.tools.tool import Context
from conversations.turn import tool_bounds, tool_calls
from conversations.turn.registry import Run, RunningTurn

NONE: Final = Passages("", (), "", "success")


def of_turn(running: RunningTurn) -> Passages:
    """Searches for the question of a turn. Its documents become the answer's. A continuation searches for nothing."""
    turn = running.turn
    if turn.bot is None or turn.extends:
        return NONE
    text = "\n\n".join(block["body"] for block in turn.chat.content.blocks if block["contentType"] == "text")
    passages = search(running, turn.bot, turn.chat.model, text, running.answer_external_id)
    running.documents += passages.documents
    return passages


def search(running: Run, bot: ChattingBot, model: Model, text: str, answer_external_id: str) -> Passages:
    """Searches for a text, if this model is told passages. The connection to the database is released before.

    It has the time of a call, and a row in the ledger like one.
    """
    if not text.strip() or not prompting.is_searched_before(bot, model):
        return NONE
    release_connection()
    booking = running.booking
    started = time.monotonic()
    deadline = started + tool_bounds.of(bot, booking.actor).seconds
    with running.interrupt.inner() as interruption:
        context = Context(deadline, interruption, booking.actor, bot, booking.conversation_external_id)
        result = prompting.search(bot, text, answer_external_id, context)
    row = tool_calls.row_of(
        booking,
        tool=knowledge.NAME,
        kind=knowledge.KIND,
        server=result.server,
        seconds=time.monotonic() - started,
        bytes_in=len(text.encode()),
        bytes_out=result.size,
        outcome=result.outcome,
    )
    running.tool_calls.append(row)
    return result
