"""The turns that this process runs now. Leases, checkpoints, stop requests and listeners find a turn here."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bedrock_chat.bedrock.events import AnswerBuilder, StopReason
from bedrock_chat.bedrock.interruption import Interruption
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.tracing import spans
from conversations.turn.types import OpenTurn


class RunningTurn:
    """A turn that runs: the answer so far, and the switch that ends the call to the model.

    `listener` is the object that takes the answer as it is written; None if nobody listens. Only with a listener does
    the answer come in pieces, so only then are there checkpoints of it. `writing` is the lock for writing the answer's
    row. No checkpoint is written once the turn is `closed`.
    """

    def __init__(self, turn: OpenTurn, *, listener: object | None = None) -> None:
        self.turn = turn
        self.listener = listener
        self.answer = AnswerBuilder()
        self.calls: list[ModelCall] = []  # ledger rows, one for each round that has ended
        self.documents: list[FoundDocument] = []  # that its tools have found
        self.interrupt = Interruption()
        self.span = spans.NOTHING
        self.writing = threading.Lock()
        self.closed = False
        self.answer_external_id = turn.answer_external_id
        self.stored = False  # the answer has a row, written by a checkpoint
        self.stored_revision = 0
        self._ended_by: StopReason | None = None
        self._settled = False

    @property
    def key(self) -> tuple[int, int]:
        """The key of the question's row, and the attempt. Every write of this turn is fenced by them."""
        return self.turn.question_pk, self.turn.attempt

    def end(self, reason: StopReason) -> None:
        """Ends the call to the model at once. Any thread may call this. Of several reasons the first one counts."""
        if not self._settled:
            self._ended_by = self._ended_by or reason
        self.interrupt.request()

    def settle(self) -> StopReason | None:
        """Why the turn was ended before its model had finished; None if nobody ended it. A later `end` is too late."""
        self._settled = True
        return self._ended_by

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Waits for a checkpoint that is being written. No checkpoint of this turn begins afterwards."""
        with self.writing:
            self.closed = True
            yield


_lock = threading.Lock()
_turns: dict[tuple[int, int], RunningTurn] = {}
_ending = False


@contextmanager
def registered(running: RunningTurn) -> Iterator[None]:
    """Keeps a turn in the registry while it runs. If the process is about to end, the turn is interrupted at once."""
    with _lock:
        _turns[running.key] = running
        ending = _ending
    if ending:
        running.end(StopReason.INTERRUPTED)
    try:
        yield
    finally:
        with _lock:
            del _turns[running.key]


def all_running() -> list[RunningTurn]:
    with _lock:
        return list(_turns.values())


def find(question_pk: int, attempt: int) -> RunningTurn | None:
    return _turns.get((question_pk, attempt))


def stop(question_pk: int, attempt: int) -> bool:
    """Stops a turn because its user wants it stopped. Returns whether this process runs it."""
    running = find(question_pk, attempt)
    if running is not None:
        running.end(StopReason.STOPPED)
    return running is not None


def interrupt_all() -> None:
    """Interrupts every turn because the process is about to end. A turn that begins later is interrupted as well."""
    global _ending  # noqa: PLW0603  a process ends once
    with _lock:
        _ending = True
    for running in all_running():
        running.end(StopReason.INTERRUPTED)
