"""Turns in the metrics and traces: how they ended, how long they took, and how many run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.database.connections import database_now
from bedrock_chat.metrics.figures import Figures
from bedrock_chat.metrics.instruments import LONG_SECONDS, Counter, Figure, Histogram
from bedrock_chat.tracing import spans
from conversations.models import Conversation, Message
from conversations.turn.closing import TakenOver
from conversations.turn.registry import Run, RunningTurn

ENDED = Counter(
    "bedrock_chat_turns_total",
    "Turns that ended: answered, stopped, interrupted, taken_over, failed. Callers are a user or a publication.",
    ("caller", "outcome"),
)
DURATION = Histogram(
    "bedrock_chat_turn_duration_seconds",
    "How long turns took, from the stored question to the stored answer: streamed or whole.",
    ("caller", "mode"),
    buckets=LONG_SECONDS,
)
RUNNING = Figure("bedrock_chat_turns_running", "Users' turns that run, in any process, by their leases.")

LATEST: Final = 5_000


@contextmanager
def measured(running: Run) -> Iterator[None]:
    """Measures a turn, or another run, for the length of a block, and gives it its span."""
    started = time.monotonic()
    booking = running.booking
    caller = "user" if booking.actor.user_id is not None else "publication"
    mode = "whole" if running.listener is None else "streamed"
    running.span = spans.begin(
        "turn",
        {
            "bedrock_chat.turn.id": booking.turn_id,
            "bedrock_chat.turn.caller": caller,
            "bedrock_chat.turn.mode": mode,
            "bedrock_chat.turn.attempt": running.turn.attempt if isinstance(running, RunningTurn) else 1,
        },
    )
    outcome, error = "answered", ""
    try:
        yield
    except BaseException as raised:
        outcome, error = _outcome_of(running, raised), type(raised).__name__
        raise
    finally:
        if outcome == "answered" and running.settle() is StopReason.STOPPED:
            outcome = "stopped"
        ENDED.add(caller, outcome)
        DURATION.observe(time.monotonic() - started, caller, mode)
        running.span.note({"bedrock_chat.turn.outcome": outcome})
        running.span.end(error if outcome == "failed" else "")


def _outcome_of(running: Run, error: BaseException) -> str:
    if isinstance(error, TakenOver):
        return "taken_over"
    if isinstance(error, GeneratorExit) or running.settle() is StopReason.INTERRUPTED:
        return "interrupted"
    if running.settle() is StopReason.STOPPED:
        return "stopped"
    return "failed"


def figures() -> Figures:
    """How many turns run. Two statements, which read LATEST conversations at most.

    A conversation in which a turn runs is not indexed, so it is among those that wait for it, which have an index of
    their own and are few where there is a worker. Leases have none, which each turn would write twice. In one
    statement PostgreSQL would read all messages, since it expects next to none that has a lease.
    """
    latest = Conversation.objects.to_be_indexed().order_by("-updated_at").values_list("pk", flat=True)[:LATEST]
    running = Message.objects.running(database_now()).filter(conversation__in=list(latest))
    return {RUNNING: {(): float(running.count())}}
