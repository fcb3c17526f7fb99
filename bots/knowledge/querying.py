"""The meaning of a query: a vector of the model that a bot's index is made with, paid for by who asks."""

import time
from typing import Final

from django.db import DatabaseError, transaction

from bedrock_chat.bedrock import embeddings, faults
from bedrock_chat.bedrock.embedding_models import EmbeddingModel, UnknownEmbeddingModel
from bedrock_chat.bedrock.embeddings import Embedded
from bedrock_chat.database import waiting
from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger import embedding_calls, recording
from bedrock_chat.ledger.budgets import expiring
from bedrock_chat.ledger.budgets.reserving import Reserved
from bedrock_chat.ledger.models import ModelCall
from bots.tools import servers
from bots.tools.tool import Context, ToolFault

LONGEST_QUERY: Final = 2_000
"""Characters. The rest of a longer one is not looked at."""
MOST_SECONDS: Final = 10.0
"""For the model: a search by words has time left after it."""
SHARE_OF_TIME: Final = 0.6
"""Of the time that the call has left."""
SILENT_SECONDS: Final = 3.0
"""A model that did not answer in less time may be well: the call had no more time left."""


class NotEmbedded(Exception):
    """The model gave no vector, or a budget has no room for the question."""


class Stopped(Exception):
    """The call was ended meanwhile."""


def embed(model_key: str, query: str, context: Context) -> list[float]:
    """The vector of a query. Its row in the ledger is written at once, in a transaction of its own.

    No pooled connection is held while the model is asked, and a stop ends that within a moment. A model that did not
    answer several questions in a row rests, as servers of tools do: it is not asked then, so that nobody waits for it
    in vain. Raises NotEmbedded and Stopped.
    """
    try:
        model = embeddings.model(model_key)
    except UnknownEmbeddingModel as error:
        raise NotEmbedded from error
    release_connection()
    try:
        with servers.place(server_of(model), context):
            embedded = _embed(model, query, context)
            if embedded.interrupted or context.interruption.requested:
                raise servers.stopped()
            if _is_silent(embedded):
                raise ToolFault("The embeddings model does not answer.", "timeout", counts=True)
    except ToolFault as fault:
        raise (Stopped if fault.outcome == "stopped" else NotEmbedded) from fault
    vector = embedded.vectors[0]
    if vector is None:
        raise NotEmbedded from embedded.fault
    return vector


def server_of(model: EmbeddingModel) -> str:
    """The name under which the model is left alone (`servers`)."""
    return f"embeddings {model.key}"


def _embed(model: EmbeddingModel, query: str, context: Context) -> Embedded:
    """Asks the model and writes what that has cost. Raises NotEmbedded where a budget has no room."""
    try:
        reservation = embedding_calls.reserve(context.caller, model, [query], bot_id=context.bot.id)
    except embedding_calls.NoRoom as error:
        raise NotEmbedded from error
    left = context.deadline - time.monotonic()
    deadline = time.monotonic() + min(MOST_SECONDS, left * SHARE_OF_TIME)
    release_connection()
    with expiring.kept(reservation.pk if reservation else None):
        embedded = embeddings.embed_query(model, query, interruption=context.interruption, deadline=deadline)
    call = embedding_calls.build(
        context.caller,
        model,
        embedded,
        bot_id=context.bot.id,
        conversation_external_id=context.conversation_external_id,
        message_external_id=context.message_external_id,
        turn_id=context.turn_id,
    )
    _write(call, reservation, context)
    return embedded


def _is_silent(embedded: Embedded) -> bool:
    """Whether nobody seems to be there. A refusal is an answer, and so is a throttle."""
    if isinstance(embedded.fault, faults.TimedOut):
        return embedded.latency_ms >= SILENT_SECONDS * 1000
    return isinstance(embedded.fault, faults.Unreachable | faults.ConnectionCut)


def _write(call: ModelCall | None, reservation: Reserved | None, context: Context) -> None:
    """Writes the row and gives back what was reserved. The vector was paid for: it is used if the database is away."""
    calls = [] if call is None else [call]
    if context.note_call is not None:
        for made in calls:
            context.note_call(made)
    try:
        with waiting.patiently():
            if calls:
                recording.insert_late(calls, reservation)
            elif reservation is not None:
                with transaction.atomic():
                    embedding_calls.write(None, reservation)
    except DatabaseError as error:
        recording.log_lost(context.turn_id or "", calls, error)
