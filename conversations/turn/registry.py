"""The turns that this process runs now. Whoever renews, checkpoints, stops or interrupts them finds them here."""

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

    `listened`: somebody waits for every word, so the answer comes in pieces and its beginning is worth keeping.
    `writing` is held by whoever writes the answer's row; no checkpoint is written once the turn is `closed`.
    """

    def __init__(self, turn: OpenTurn, *, listened: bool) -> None:
        self.turn = turn
        self.listened = listened
        self.built = AnswerBuilder()
        self.calls: list[ModelCall] = []  # ledger rows, one for each round that has ended
        self.documents: list[FoundDocument] = []  # what its tools have found
        self.interrupt = Interruption()
        self.cut: StopReason | None = None
        self._settled = False
        self.writing = threading.Lock()
        self.closed = False
        self.answer_external_id = turn.answer_external_id
        self.stored = False  # the answer has a row, written by a checkpoint
        self.stored_revision = 0

    @property
    def key(self) -> tuple[int, int]:
        """The question's row and the attempt: what fences every write of this turn."""
        return self.turn.question, self.turn.attempt

    def end(self, why: StopReason) -> None:
        """Ends the call to the model at once, from any thread. The first reason counts, if it comes before the end."""
        if not self._settled:
            self.cut = self.cut or why
        self.interrupt.request()

    def settled(self) -> StopReason | None:
        """Why the call was ended, for good: whoever wants the turn ended from now on comes too late."""
        self._settled = True
        return self.cut

    @contextmanager
    def closing(self) -> Iterator[None]:
        """Waits for a checkpoint that is being written, and lets none begin any more."""
        with self.writing:
            self.closed = True
            yield


_lock = threading.Lock()
_running: dict[tuple[int, int], RunningTurn] = {}
_ending = False


@contextmanager
def registered(running: RunningTurn) -> Iterator[None]:
    """Keeps a turn findable while it runs."""
    with _lock:
        _running[running.key] = running
        ending = _ending
    if ending:
        running.end(StopReason.INTERRUPTED)
    try:
        yield
    finally:
        with _lock:
            del _running[running.key]


def all_running() -> list[RunningTurn]:
    with _lock:
        return list(_running.values())


def find(question: int, attempt: int) -> RunningTurn | None:
    return _running.get((question, attempt))


def stop(question: int, attempt: int) -> bool:
    """Stops a turn as its user wishes; says whether this process runs it."""
    found = find(question, attempt)
    if found is not None:
        found.end(StopReason.STOPPED)
    return found is not None


def interrupt_all() -> None:
    """The process is about to end: every turn is cut short, and so is one that begins after this."""
    global _ending  # noqa: PLW0603  a process ends once
    with _lock:
        _ending = True
    for running in all_running():
        running.end(StopReason.INTERRUPTED)
