"""The passages of a bot's knowledge that a model is told with a question: where it takes no tools and cannot search by
itself, or where a guardrail holds its answer against them.
"""

import time
from typing import Final

from bedrock_chat.bedrock import estimates
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.database.connections import release_connection
from bots.chatting import ChattingBot
from bots.tools import knowledge_base, prompting
from bots.tools.prompting import NONE, Passage, Passages
from bots.tools.tool import Context
from conversations import access
from conversations.content.blocks import part_shas, texts
from conversations.content.files import FileReader
from conversations.content.rounds import read_part
from conversations.turn import tool_bounds, tool_calls
from conversations.turn.registry import Run, RunningTurn
from conversations.turn.types import OpenTurn

BETWEEN: Final = "\n\n"
SHORT_TOKENS: Final = 5
"""A question of fewer likely tokens ("And in 2024?") is searched for together with the one before it."""


def of_turn(running: RunningTurn) -> Passages:
    """Searches for the question of a turn. Its documents become the answer's.

    A continuation searches for nothing: it is told what the answer that it extends was told.
    """
    turn = running.turn
    if turn.bot is None or not prompting.is_searched_before(turn.bot, turn.chat.model):
        return NONE
    if turn.extends:
        return prompting.told(turn.bot, _stored(turn))
    before = next((turn.contents[node.pk] for node in reversed(turn.path) if node.is_question), ())
    query = query_of(BETWEEN.join(texts(turn.chat.content.blocks)), BETWEEN.join(texts(before)))
    passages = search(running, turn.bot, turn.chat.model, query, running.answer_external_id)
    running.documents += passages.documents
    return passages


def query_of(question: str, before: str) -> str:
    """What is searched for. `before` is the question before this one, or empty."""
    is_short = bool(question.strip()) and estimates.text_tokens(question.strip()) < SHORT_TOKENS
    return BETWEEN.join(filter(None, (before, question))) if is_short else question


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
        context = Context(
            deadline,
            interruption,
            booking.actor,
            bot,
            booking.conversation_external_id,
            message_external_id=booking.question_external_id,
            turn_id=booking.turn_id,
            context_window=model.context_window,
            note_call=running.note_query,
        )
        result = prompting.search(bot, text, answer_external_id, context)
    row = tool_calls.row_of(
        booking,
        tool=knowledge_base.NAME,
        kind=knowledge_base.KIND,
        server=result.server,
        seconds=time.monotonic() - started,
        bytes_in=len(text.encode()),
        bytes_out=result.size,
        outcome=result.outcome,
    )
    running.tool_calls.append(row)
    return result


def _stored(turn: OpenTurn) -> list[Passage]:
    """The passages of the answer that a continuation extends, in the order in which they were told."""
    assert turn.extends is not None
    rows = access.passages_of_answer(turn.extends)
    read = FileReader({})
    read.expect(sha256 for row in rows for sha256 in part_shas(row.content))
    release_connection()
    return [Passage(row.source_id, text) for row in rows if (text := _text(read_part(row.content, read)))]


def _text(part: dict[str, object]) -> str:
    text = part.get("text")
    return text if isinstance(text, str) else ""
