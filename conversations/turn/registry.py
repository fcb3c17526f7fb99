"""What this process asks models for now. Leases, checkpoints, stop requests and listeners find a turn here."""

import threading
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Any

from bedrock_chat.bedrock.events import AnswerBuilder, StopReason
from bedrock_chat.bedrock.shapes import ConverseBlock
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.ledger.budgets import expiring
from bedrock_chat.ledger.budgets.reserving import Reserved
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.tracing import spans
from conversations.content.rounds import StoredRound
from conversations.turn.types import Booking, OpenTurn


class Run:
    """A question whose model is being asked: the answer so far, and the switch that ends the call.

    `listener` is the object that takes the answer as it is written; None if nobody listens. Only with a listener does
    the answer come in pieces. `ids` stand beside the sentence of an error.
    """

    ids: dict[str, str] = {}

    def __init__(self, booking: Booking, *, listener: object | None = None) -> None:
        self.booking = booking
        self.listener = listener
        self.answer = AnswerBuilder()  # of the newest round
        self.rounds: list[StoredRound] = []  # those before it, whose tools have run
        self.calls: list[ModelCall] = []  # ledger rows, one for each round that has ended
        self.written_calls = 0  # how many of them are stored
        self.queries: list[ModelCall] = []  # ledger rows of what its tools have asked models; they are stored
        self.tool_calls: list[ToolCall] = []  # ledger rows that are not stored yet
        self.file_bytes = 0  # of the files that its tools have brought
        self.unreferred: set[str] = set()  # blobs of results whose write failed
        self.reservation: Reserved | None = None
        self.keeping_rounds = threading.Lock()  # held while the rounds are changed or written
        self.interrupt = Interruption()
        self.span = spans.NOTHING
        self._earlier_text: list[ConverseBlock] = []  # of the newest round before this one that has text
        self._ended_by: StopReason | None = None
        self._settled = False

    @property
    def unwritten_calls(self) -> list[ModelCall]:
        """The ledger rows of calls that are not stored yet."""
        return self.calls[self.written_calls :]

    def note_query(self, call: ModelCall) -> None:
        """A tool has asked a model, such as for the meaning of a query. Any thread may call this."""
        self.queries.append(call)

    @property
    def spent(self) -> list[ModelCall]:
        """All that the run has cost so far: its rounds, and then the queries of its tools."""
        return [*self.calls, *self.queries]

    def begin_answer(self) -> None:
        """A round is over: what the model says from now on is another one's."""
        if self.answer.has_text():
            self._earlier_text = _text_of(self.answer)
        self.answer = AnswerBuilder(self.answer.revision + 1)

    def has_text(self) -> bool:
        """Whether there would be an answer if the turn ended now."""
        return self.answer.has_text() or bool(self._earlier_text)

    def blocks(self) -> list[ConverseBlock]:
        """What the answer would be: what this round says, else the text of the newest round that has some.

        Of a round that asks for tools it is the text alone. The rest of it is among the rounds, or was cut.
        """
        if self._earlier_text and not self.answer.has_text():
            return self._earlier_text
        blocks = self.answer.blocks()
        return _text_of(self.answer) if any("toolUse" in block for block in blocks) else blocks

    @contextmanager
    def keeping_reservation(self) -> Iterator[None]:
        """Has the heartbeat keep what is reserved for this run's calls, also for those that come later."""
        self.reserve(self.reservation)
        try:
            yield
        finally:
            self.reserve(None)

    def reserve(self, reservation: Reserved | None) -> None:
        """Notes what is reserved for the next call, in the place of what was for the one before."""
        if self.reservation is not None:
            expiring.leave(self.reservation.pk)
        self.reservation = reservation
        if reservation is not None:
            expiring.keep(reservation.pk)

    @property
    def key(self) -> Hashable:
        return self.booking.turn_id

    def end(self, reason: StopReason) -> None:
        """Ends the call to the model at once. Any thread may call this. Of several reasons the first one counts."""
        if not self._settled:
            self._ended_by = self._ended_by or reason
        self.interrupt.request()

    def settle(self) -> StopReason | None:
        """Why the turn was ended before its model had finished; None if nobody ended it. A later `end` is too late."""
        self._settled = True
        return self._ended_by


def _text_of(answer: AnswerBuilder) -> list[ConverseBlock]:
    return [block for block in answer.blocks() if "text" in block]


class RunningTurn(Run):
    """A turn that runs, with rows that say so.

    Only with a listener are there checkpoints of the answer. `writing` is the lock for writing the answer's row. No
    checkpoint is written once the turn is `closed`.
    """

    def __init__(self, turn: OpenTurn, *, listener: object | None = None) -> None:
        super().__init__(turn.booking, listener=listener)
        self.turn = turn
        self.ids = turn.ids
        self.reservation = turn.reservation
        self.documents: list[FoundDocument] = []  # that its tools have found
        self.is_taken_over = False  # a write of its rounds has found that another attempt owns the question
        self.writing = threading.Lock()
        self.closed = False
        self.answer_external_id = turn.answer_external_id
        self.stored = False  # the answer has a row, written by a checkpoint
        self.stored_revision = 0

    @property
    def key(self) -> tuple[int, int]:
        """The key of the question's row, and the attempt. Every write of this turn is fenced by them."""
        return self.turn.question_pk, self.turn.attempt

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Waits for a checkpoint that is being written, and for a result. None of this turn is written afterwards.

        The rounds, and the ledger rows that are not stored yet, stay as they are meanwhile.
        """
        with self.writing, self.keeping_rounds:
            self.closed = True
            yield


_lock = threading.Lock()
_turns: dict[tuple[int, int], RunningTurn] = {}
_others: dict[Hashable, Run] = {}
_ending = False


@contextmanager
def registered(running: Run) -> Iterator[None]:
    """Keeps a turn, or another run, in the registry. If the process is about to end, it is interrupted at once."""
    runs: dict[Any, Any] = _turns if isinstance(running, RunningTurn) else _others
    with _lock:
        runs[running.key] = running
        ending = _ending
    if ending:
        running.end(StopReason.INTERRUPTED)
    try:
        yield
    finally:
        with _lock:
            del runs[running.key]


def all_running() -> list[RunningTurn]:
    """The turns, which have rows."""
    with _lock:
        return list(_turns.values())


def other_runs() -> list[Run]:
    """What runs without rows: it ends with this process."""
    with _lock:
        return list(_others.values())


def find(question_pk: int, attempt: int) -> RunningTurn | None:
    return _turns.get((question_pk, attempt))


def stop(question_pk: int, attempt: int) -> bool:
    """Stops a turn because its user wants it stopped. Returns whether this process runs it."""
    running = find(question_pk, attempt)
    if running is not None:
        running.end(StopReason.STOPPED)
    return running is not None


def interrupt_all() -> None:
    """Interrupts every run because the process is about to end. One that begins later is interrupted as well."""
    global _ending  # noqa: PLW0603  a process ends once
    with _lock:
        _ending = True
    for running in (*all_running(), *other_runs()):
        running.end(StopReason.INTERRUPTED)
