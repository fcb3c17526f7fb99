"""A chat completion: the model is asked, and nothing of it is stored but its row in the ledger.

It is counted, stopped and paid like a turn, but it has no rows of its own, no lease and no job: it lives in the memory
of this process. If the process dies, the client's request fails. If the client leaves, the call is ended.
"""

import time
from collections.abc import Generator, Iterable
from contextlib import nullcontext
from dataclasses import replace
from typing import Final

from django.db import DatabaseError

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.events import Event, StopReason, TextDelta, ToolUse
from bedrock_chat.bedrock.faults import TooLong
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.database import waiting
from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger import recording, tool_calls
from bedrock_chat.ledger.budgets.payers import payers_of
from bedrock_chat.ledger.budgets.reserving import reserve
from bedrock_chat.ledger.recording import Spent
from bedrock_chat.wire.errors import ApiError, Conflict, Forbidden
from bedrock_chat.wire.renderers import dumps
from bots import chatting
from bots.chatting import ChattingBot
from bots.tools import offered, prompting
from bots.tools.offered import Offered
from conversations.content.blocks import StoredBlock, texts
from conversations.streaming.events import MessageStop
from conversations.turn import admission, lifecycle, measuring, passages, registry, rounds
from conversations.turn.asking import Prompt
from conversations.turn.registry import Run, registered
from conversations.turn.types import Booking, Finished, TurnEvent, TurnOpened
from publication.authentication import KnownKey
from publication.idempotency import claiming
from publication.idempotency.claiming import Keyed
from publication.models import Publication
from publication.openai import composing, rendering, storing
from publication.openai.rendering import Wire
from publication.openai.requests import ChatRequest
from publication.running import WITHDRAWN

LOOK_SECONDS = 0.5
BETWEEN_ROUNDS: Final = "\n\n"
"""Between the texts of a model that has used tools meanwhile."""


class Completion(Run):
    """A chat completion that runs. `model_key` is there once the model was chosen.

    `keyed` is the idempotency key of the request, with the digest of its body. `created` is in seconds since the epoch.
    """

    model_key = ""
    is_withdrawn = False

    def __init__(
        self, booking: Booking, *, listener: object | None = None, keyed: tuple[Keyed, str] | None = None
    ) -> None:
        super().__init__(booking, listener=listener)
        self.keyed = keyed
        self.created = int(time.time())

    def stop(self) -> None:
        """Ends the call: the client has left. Does nothing if the answer is complete."""
        self.end(StopReason.STOPPED)

    def withdraw(self) -> None:
        """Ends the call: the API was withdrawn."""
        self.is_withdrawn = True
        self.end(StopReason.STOPPED)

    def head(self, kind: str) -> Wire:
        """What the answer, or a chunk of it, begins with."""
        return rendering.head(kind, self.booking.turn_id, self.created, self.model_key)

    def text(self) -> str:
        """What the model has said since its tools have run."""
        return "".join(block["text"] for block in self.answer.blocks() if "text" in block)

    def whole(self, stop_reason: str) -> Wire:
        """The answer, when the model has finished: what it has said, without what it thought."""
        texts = [rounds_text(stored["blocks"]) for stored in self.rounds] + [self.text()]
        text = BETWEEN_ROUNDS.join(text for text in texts if text)
        return rendering.completion(self.head(rendering.COMPLETION), text, stop_reason, Spent.of(self.spent))


def begin(
    chat: ChatRequest, known: KnownKey, *, listener: object | None = None, keyed: tuple[Keyed, str] | None = None
) -> Completion:
    """A chat completion that was asked for with a key. It runs when `run` does."""
    assert known.caller.published is not None
    actor = replace(known.caller, published=replace(known.caller.published, user_label=chat.user_label))
    ids = storing.new_ids() if known.publication.store_openai else ("", "")
    return Completion(Booking(actor, *ids, bot_id=known.publication.bot_id), listener=listener, keyed=keyed)


def run(chat: ChatRequest, running: Completion) -> Generator[Event | MessageStop, None, None]:
    """Asks the model, and yields its events; the last one is a MessageStop. The bot's tools run as in a turn.

    1. The call is counted, or refused if the process runs as many as it may.
    2. The bot is read, its model chosen, and the request composed. All that can be refused is refused now.
    3. Its idempotency key is claimed, if it has one.
    4. What it may cost is reserved of all budgets that it counts for.
    5. What the bot's tools and knowledge have to say is asked for, and then the model.
    6. However the call ended, its ledger row is written. Of a complete answer a copy is kept for its idempotency key;
       otherwise that key is free again.
    7. If the publication says so, history and answer are stored, after the last event was taken.

    Raises the errors of `admission`, NotFound, BadRequest, Conflict while the bot's guardrail is not there, what
    `claiming.begin` and `reserved` raise, the model's faults, and Forbidden if the API was withdrawn meanwhile. As
    long as `running.calls` is empty, no model was asked.
    """
    actor = running.booking.actor
    with admission.admitted(actor), registered(running):
        bot = chatting.get(running.booking.bot_id or "", actor=actor)
        model = composing.choose_model(chat.model, bot, actor=actor)
        bot.refuse(model)
        tools = offered.offered(bot, model, actor)
        prompt = composing.compose(chat, bot, model, tools, [tool.spec for tool in tools.tools])
        running.model_key = model.key
        claim = claiming.begin(*running.keyed) if running.keyed else None
        payers = payers_of(actor, bot.id)
        with claim or nullcontext(), measuring.measured(running):
            running.reserve(reserve(payers, prompt.request))
            try:
                prompt = _looked_up(chat, running, prompt, bot, model, tools)
                stop_reason = yield from _joined(
                    rounds.ask(running, prompt, model=model, bot=bot, offered=tools, thinks=False)
                )
            except Exception as error:
                raised = _client_error(error, running, prompt.request)
                if raised is error:
                    raise
                raise raised from error
            finally:
                _book(running)
            if claim is not None:
                claim.finish(dumps(running.whole(stop_reason)).decode())
        release_connection()
        yield MessageStop("", "", None, stop_reason, Spent.of(running.spent))
        if running.booking.conversation_external_id:
            storing.store(chat, running, model_key=model.key, instruction=bot.instruction, stop_reason=stop_reason)


def _looked_up(
    chat: ChatRequest, running: Completion, prompt: Prompt, bot: ChattingBot, model: Model, tools: Offered
) -> Prompt:
    """The prompt with what agents say of themselves, and with passages of the bot's knowledge.

    AWS is asked for both, so nobody gets there whom a limit refuses. The prompt stays where a bot has neither.
    """
    is_searched = prompting.is_searched_before(bot, model)
    if not is_searched and not offered.are_looked_up(tools):
        return prompt
    release_connection()
    specs = offered.specs(tools, running.interrupt)
    query = passages.query_of(chat.history.question, chat.history.question_before)
    knowledge = passages.search(running, bot, model, query, running.booking.turn_id)
    return composing.compose(chat, bot, model, tools, specs, knowledge)


def _joined(events: Generator[TurnEvent, None, str]) -> Generator[Event, None, str]:
    """The events of the model alone, with a blank line between the texts of two rounds."""
    has_text, is_new_round = False, False
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return str(end.value)
        if isinstance(event, ToolUse):
            is_new_round = True
        elif type(event) is TextDelta:
            if is_new_round and has_text:
                yield TextDelta(BETWEEN_ROUNDS)
            has_text, is_new_round = True, False
            yield event
        elif not isinstance(event, TurnOpened | ToolResult | FoundDocument | Finished):
            yield event


def rounds_text(blocks: Iterable[StoredBlock]) -> str:
    return "".join(texts(blocks))


def drain(chat: ChatRequest, running: Completion) -> Wire:
    """Runs a chat completion to its end, and returns it whole."""
    stop: MessageStop | None = None
    for event in run(chat, running):
        stop = event if isinstance(event, MessageStop) else stop
    assert stop is not None  # the last event of a run that did not raise
    return running.whole(stop.stop_reason)


def end_withdrawn() -> None:
    """Ends the calls of APIs that are gone. One query finds those; there is none while nothing runs.

    Only the heartbeat calls this, every LOOK_SECONDS.
    """
    completions = [running for running in registry.other_runs() if isinstance(running, Completion)]
    ids = {running.booking.actor.publication_id for running in completions}
    if not ids:
        return
    existing = set(Publication.objects.filter(pk__in=ids).values_list("pk", flat=True))
    for running in completions:
        if running.booking.actor.publication_id not in existing:
            running.withdraw()


def _client_error(error: Exception, running: Completion, model_request: ModelRequest) -> BaseException:
    """The error that the client gets."""
    if running.is_withdrawn:
        return Forbidden(WITHDRAWN)
    if running.settle() is StopReason.STOPPED:
        return Conflict("The client left before the model had answered.")
    raised = lifecycle.client_error(error, running, model_request)
    if isinstance(error, TooLong) and isinstance(raised, ApiError):
        raised.extra = {"code": composing.TOO_LONG, "param": "messages"}
    return raised


def _book(running: Completion) -> None:
    """Writes the ledger rows, and settles them.

    The answer was paid for: it is not kept from the client if the database is away.
    """
    recording.log_spending(running.calls)
    try:
        with waiting.patiently():
            recording.insert_late(running.unwritten_calls, running.reservation)
            tool_calls.insert_late(running.tool_calls)
    except DatabaseError as error:
        recording.log_lost(running.booking.turn_id, running.unwritten_calls, error)
    finally:
        running.reserve(None)
        release_connection()
