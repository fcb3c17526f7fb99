"""What a client hears of a published turn: one stream, whichever process answers, from attempt to attempt.

The turn's row says whether it is over. Until it is, the stream goes from the log of one attempt to that of the next:
in this process (`hosting`), in another one (`remote`). Where an attempt was lost, `restart` comes before the next.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus

from bedrock_chat.identity.caller import Caller
from bedrock_chat.process import shutdown, thread_pool
from bedrock_chat.wire.errors import Conflict, Forbidden, recorded
from bedrock_chat.wire.event_stream import EventStreamResponse
from conversations.models import Message
from conversations.streaming import remote, replay, sse
from conversations.streaming.events import (
    Failed,
    MessageStart,
    MessageStop,
    Restart,
    StreamEvent,
    Waiting,
    goes_on,
    is_last,
)
from conversations.streaming.log import NOWHERE, Batch, Log, once
from conversations.turn import lifecycle
from conversations.turn.types import wire_ids
from publication import accepting, running, standing
from publication.accepting import Question
from publication.idempotency.claiming import Keyed
from publication.models import TurnRequest
from publication.standing import TurnStatus
from publication.streaming import hosting

POLL_SECONDS = 1.0
QUIET_SECONDS = 15.0
WAITING_SENTENCE = "The question waits for its answer."


@dataclass(frozen=True, slots=True)
class Hosted:
    """The turn waits for its place in this process, or runs in it."""

    log: Log

    @property
    def attempt(self) -> int:
        return self.log.attempt


@dataclass(frozen=True, slots=True)
class Runs:
    """The turn runs in another process, by the lease on its question."""

    question: Message

    @property
    def attempt(self) -> int:
        return self.question.attempt


@dataclass(frozen=True, slots=True)
class Waits:
    """The turn has not begun, or its process died and another one has not taken it yet."""

    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Over:
    """The turn is over: all its events, and the attempt that has ended it."""

    attempt: int
    events: list[StreamEvent]


@dataclass(frozen=True, slots=True)
class Leaves:
    """The process is shutting down."""

    attempt: int = 0


State = Hosted | Runs | Waits | Over | Leaves


def ask(question: Question, keyed: tuple[Keyed, str] | None = None, *, actor: Caller) -> EventStreamResponse:
    """Accepts a question, has this process run its turn, and streams the answer. `keyed` is as for `accepting.accept`.

    Raises what `accepting.accept` raises, and ServiceUnavailable for a stream too many.
    """
    hosting.refuse_more()
    turn = accepting.accept(question, keyed, actor=actor, host=hosting.CLAIMS.worker)
    hosting.expect(turn)
    return sse.respond_with(Listener(turn, actor=actor).pieces())


def resume(
    conversation_id: str, message_id: str, last_event_id: str, *, actor: Caller
) -> tuple[EventStreamResponse | None, TurnStatus]:
    """Streams the newest turn of a question after the last event seen; None if that one was the turn's last.

    Raises NotFound for a question that this publication has not accepted, and ServiceUnavailable for a stream too many.
    """
    sse.refuse_more()
    turn = standing.get(conversation_id, message_id, actor=actor)
    state = state_of(turn.pk, actor)
    status = standing.status_of(turn, runs=isinstance(state, Runs))
    if isinstance(state, Over) and last_event_id == sse.end_of(state.attempt):
        return None, status
    listener = Listener(turn, actor=actor, last_event_id=last_event_id, state=state)
    return sse.respond_with(listener.pieces()), status


def state_of(turn_pk: int, actor: Caller) -> State:
    """What is true of a turn now, by its row and its question's lease."""
    if shutdown.draining():
        return Leaves()
    turn = TurnRequest.objects.filter(pk=turn_pk).defer("content").first()
    if turn is None:  # with all that its owner had published
        return Over(0, [Failed.of(Forbidden(running.WITHDRAWN))])
    if turn.done_at is not None:
        return _over(turn, actor)
    question = standing.running_question(turn)
    return Waits() if question is None else Runs(question)


def _over(turn: TurnRequest, actor: Caller) -> Over:
    if not turn.reason:
        answer = standing.stored_answer(turn, actor=actor)
        return Over(answer.attempt, replay.events_of_answer(actor, answer))
    question = running.question_of(turn)
    ids = wire_ids(turn.conversation_id, turn.message_id)
    end: StreamEvent
    match turn.reason:
        case lifecycle.STOPPED:
            end = MessageStop.of(turn.conversation_id, turn.message_id, None, ())
        case running.WITHDRAWN:
            end = Failed.of(Forbidden(turn.reason, extra=ids))
        case _:
            end = Failed.of(Conflict(turn.reason, extra=ids))
    start = MessageStart(turn.conversation_id, turn.message_id, None)
    return Over(0 if question is None else question.attempt, [start, end])


class Listener:
    """One client of a turn. `state` is what is known of it already.

    `_attempt` is the one of which the client has heard something; 0: of none. `_is_whole` says that it has heard all of
    that one but the end.
    """

    def __init__(
        self, turn: TurnRequest, *, actor: Caller, last_event_id: str = "", state: State | None = None
    ) -> None:
        self._turn = turn
        self._ids = wire_ids(turn.conversation_id, turn.message_id)
        self._actor = actor
        self._last_event_id = last_event_id
        self._state = state
        self._attempt = sse.attempt_of(last_event_id)
        self._is_whole = False
        self._is_over = False
        self._knows_that_it_waits = False

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """The bytes to send, until the turn or this process ends. An error becomes the last event."""
        try:
            while not self._is_over:
                state = await self._next_state()
                async with contextlib.aclosing(self._batches(state)) as batches:
                    async for first, batch in batches:
                        if piece := self._piece(state.attempt, first, batch):
                            yield piece
        except Exception as error:  # noqa: BLE001  the client gets it as an event; it is logged if the fault is ours
            fault = recorded(error)
            goes_on_elsewhere = fault.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR  # nothing is known of the turn
            yield sse.encode(self._attempt, NOWHERE, [Failed.of(fault, resume=goes_on_elsewhere)])

    async def _next_state(self) -> State:
        """What is true now. The database is asked on a thread, unless the turn waits or runs in this process."""
        known, self._state = self._state, None
        if (log := hosting.log_of(self._turn.pk)) is not None and not log.ended:
            return Hosted(log)
        if known is not None:
            return known
        return await thread_pool.shared().run(self._read_state)

    def _read_state(self) -> State:
        return state_of(self._turn.pk, self._actor)

    def _batches(self, state: State) -> AsyncGenerator[Batch, None]:
        """The events of a state. They end with the turn, or with the state."""
        match state:
            case Hosted(log):
                return self._hosted(log)
            case Runs(question):
                return self._elsewhere(question)
            case Waits():
                return self._until_begun()
            case Over(attempt, events):
                has_heard = self._is_whole and attempt == self._attempt
                return once(events[-1:] if has_heard else events)
            case Leaves():
                return once([Failed.leaving()])

    async def _hosted(self, log: Log) -> AsyncGenerator[Batch, None]:
        if hosting.waits(self._turn.pk):
            for batch in self._waiting():
                yield batch
        offset = self._offset(log.attempt)
        async with contextlib.aclosing(log.follow(offset if offset <= len(log.events) else 0)) as batches:
            async for batch in batches:
                yield batch

    async def _elsewhere(self, question: Message) -> AsyncGenerator[Batch, None]:
        """What another process tells. Whoever has asked here learns the ids, also where the answer comes whole."""
        relayed = remote.follow(question, self._offset(question.attempt), partial(_end_if_lost, question))
        async with contextlib.aclosing(relayed):
            async for first, batch in relayed:
                yield first, [replace(event, ids=self._ids) if type(event) is Waiting else event for event in batch]

    async def _until_begun(self) -> AsyncGenerator[Batch, None]:
        """Tells the client once that the turn waits, and asks every POLL_SECONDS whether it still does."""
        for batch in self._waiting():
            yield batch
        looks = 0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            state = await thread_pool.shared().run(self._read_state)
            if not isinstance(state, Waits):
                self._state = state
                return
            looks += 1
            if looks % (QUIET_SECONDS // POLL_SECONDS) == 0:
                yield NOWHERE, []

    def _waiting(self) -> Iterator[Batch]:
        if not self._knows_that_it_waits:
            self._knows_that_it_waits = True
            yield NOWHERE, [Waiting(WAITING_SENTENCE, self._ids)]

    def _offset(self, attempt: int) -> int:
        """From where the client goes on in that attempt. The id that it came with counts once."""
        last_event_id, self._last_event_id = self._last_event_id, ""
        return sse.position_of(last_event_id, attempt)

    def _piece(self, attempt: int, first: int, batch: list[StreamEvent]) -> bytes:
        """The bytes of a batch.

        An event that ends a log, but not the turn, is for the client only where it has to connect to another process.
        An attempt that follows one of which the client has heard something begins with `restart`.
        """
        if not batch:
            return sse.piece_of(attempt, first, batch)
        if goes_on(batch[-1]) and not shutdown.draining():
            self._is_whole = first != NOWHERE
            batch = batch[:-1]
            if not batch:
                return b""
        self._is_over = is_last(batch[-1])
        piece = sse.encode(attempt, first, batch)
        if attempt:
            if 0 < self._attempt < attempt:
                piece = sse.encode(attempt, NOWHERE, [Restart()]) + piece
            self._attempt = attempt
        return piece


def _end_if_lost(question: Message) -> list[StreamEvent] | None:
    """The end of what another process tells of an attempt, if that one no longer runs; None while it does."""
    if not shutdown.draining():
        row = Message.objects.filter(pk=question.pk).defer("content").first()
        if row is not None and row.attempt == question.attempt and remote.runs(row):
            return None
    return [Failed.leaving()]
