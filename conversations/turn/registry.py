"""The turns that this process runs now. Whoever renews, checkpoints, stops or hears one finds it here."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from bedrock_chat.bedrock.events import AnswerBuilder, StopReason
from bedrock_chat.bedrock.interruption import Interruption
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.ledger.models import ModelCall
from conversations.turn.types import OpenTurn


class RunningTurn:
    """A turn that runs: what its model has said so far, and the switch that ends it.

    `listener` is whoever hears the words as they come; None: nobody does. Of a turn that is listened to the answer
    comes in pieces, and its beginning is worth keeping. `writing` is held by whoever writes the answer's row; no
    checkpoint is written once the turn is `closed`.
    """

    def __init__(self, turn: OpenTurn, *, listener: object | None = None) -> None:
        self.turn = turn
        self.listener = listener
        self.answer = AnswerBuilder()
        self.calls: list[ModelCall] = []  # ledger rows, one for each round that has ended
        self.documents: list[FoundDocument] = []  # what its tools have found
        self.interrupt = Interruption()
        self.writing = threading.Lock()
        self.closed = False
        self.answer_external_id = turn.answer_external_id
        self.stored = False  # the answer has a row, written by a checkpoint
        self.stored_revision = 0
        self._ended_by: StopReason | None = None
        self._settled = False

    @property
    def key(self) -> tuple[int, int]:
        """The question's row and the attempt: what fences every write of this turn."""
        return self.turn.question_pk, self.turn.attempt

    def end(self, why: StopReason) -> None:
        """Ends the call to the model at once, from any thread. Of several reasons the first one counts."""
        if not self._settled:
            self._ended_by = self._ended_by or why
        self.interrupt.request()

    def settle(self) -> StopReason | None:
        """Why the turn was ended before its model had finished, for good: whoever wants to end it now is too late."""
        self._settled = True
        return self._ended_by

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Waits for a checkpoint that is being written, and lets none begin any more."""
        with self.writing:
            self.closed = True
            yield


_lock = threading.Lock()
_turns: dict[tuple[int, int], RunningTurn] = {}
_ending = False


@contextmanager
def registered(running: RunningTurn) -> Iterator[None]:
    """Keeps a turn findable while it runs."""
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
    """Stops a turn as its user wishes; says whether this process runs it."""
    running = find(question_pk, attempt)
    if running is not None:
        running.end(StopReason.STOPPED)
    return running is not None


def interrupt_all() -> None:
    """The process is about to end: every turn is cut short, and so is one that begins after this."""
    global _ending  # noqa: PLW0603  a process ends once
    with _lock:
        _ending = True
    for running in all_running():
        running.end(StopReason.INTERRUPTED)
