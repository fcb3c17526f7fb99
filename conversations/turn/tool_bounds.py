"""How much the tools of a turn may do: rounds, calls, time, money. A publication may only lower what its bot has."""

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Self

from django.conf import settings

from bedrock_chat.bedrock.catalog import Model, Target
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.budgets import reserving
from bedrock_chat.ledger.budgets.payers import payers_of, with_budgets
from bedrock_chat.ledger.models import ModelCall
from bots.chatting import ChattingBot
from bots.serializers.parts import LONGEST_TOOL_SECONDS, MOST_TOOL_ROUNDS
from conversations.content.rounds import StoredCounts, StoredRound, readable_counts
from conversations.turn.registry import Run


@dataclass(frozen=True, slots=True)
class Bounds:
    """`seconds` is how long a call may take, `ends_at` when the turn's tools are over, by `time.monotonic()`."""

    rounds: int
    seconds: float
    ends_at: float

    def are_reached(self, running: Run, counts: "Counts") -> bool:
        """Whether the model is to answer without further tools."""
        return (
            len(running.rounds) >= self.rounds
            or counts.calls >= settings.TOOL_CALLS_PER_TURN
            or time.monotonic() >= self.ends_at
            or counts.cost_too_much(running.spent)
        )


@dataclass(slots=True)
class Counts:
    """What a turn has used of its bounds. Each round is stored with them, so that who takes it over goes on counting.

    `calls` are those that were run; `repeats` says how often the call with the digest `repeated` was asked for in a
    row, and `broken_rounds` in how many rounds in a row there was unusable input. `seconds`, `usd` and
    `unpriced_tokens` are those of earlier attempts alone.
    """

    calls: int = 0
    broken_rounds: int = 0
    repeated: str = ""
    repeats: int = 0
    seconds: float = 0.0
    usd: float = 0.0
    unpriced_tokens: int = 0

    @classmethod
    def left_by(cls, taken_over: Sequence[StoredRound]) -> Self:
        """Those of the attempt that has left these rounds."""
        counts = readable_counts(taken_over[-1].get("counts")) if taken_over else None
        if counts is None:
            return cls(calls=sum(len(stored["calls"]) for stored in taken_over))
        return cls(
            int(counts["calls"]),
            int(counts["brokenRounds"]),
            counts["repeated"],
            int(counts["repeats"]),
            counts["seconds"],
            counts["usd"],
            int(counts["unpricedTokens"]),
        )

    def stored(self, running: Run, bounds: Bounds) -> StoredCounts:
        """As they are stored with a round whose tools begin now."""
        return {
            "calls": self.calls,
            "brokenRounds": self.broken_rounds,
            "repeated": self.repeated,
            "repeats": self.repeats,
            "seconds": round(settings.TOOL_TURN_SECONDS - (bounds.ends_at - time.monotonic()), 3),
            "usd": self.usd + float(_price_of(running.spent)),
            "unpricedTokens": self.unpriced_tokens + _unpriced_tokens(running.spent),
        }

    def note_repetition(self, call: str) -> int:
        """Notes a call, which the text says whole. Returns how often it was asked for in a row."""
        digest = hashlib.sha256(call.encode()).hexdigest()
        self.repeats = self.repeats + 1 if digest == self.repeated else 1
        self.repeated = digest
        return self.repeats

    def forget_repetition(self) -> None:
        self.repeated, self.repeats = "", 0

    def cost_too_much(self, calls: Sequence[ModelCall]) -> bool:
        """Whether these calls to the model, with those of earlier attempts, have cost what a turn may; without a
        price their tokens count.
        """
        if settings.TURN_MAX_COST and self.usd + float(_price_of(calls)) >= settings.TURN_MAX_COST:
            return True
        tokens = self.unpriced_tokens + _unpriced_tokens(calls)
        return bool(settings.TURN_MAX_TOKENS) and tokens >= settings.TURN_MAX_TOKENS


def _price_of(calls: Sequence[ModelCall]) -> Decimal:
    return sum((call.price for call in calls if call.price is not None), Decimal(0))


def _unpriced_tokens(calls: Sequence[ModelCall]) -> int:
    return sum(
        call.input_tokens + call.output_tokens + call.cache_read_tokens + call.cache_write_tokens
        for call in calls
        if call.price is None
    )


def of(bot: ChattingBot, actor: Caller, *, used_seconds: float = 0.0) -> Bounds:
    """The bounds of a turn that begins now: the bot's own, else the server's, and at most the publication's.

    `used_seconds` is how long earlier attempts at it took.
    """
    rounds = bot.tool_rounds or settings.TOOL_ROUNDS
    seconds = float(bot.tool_seconds or settings.TOOL_SECONDS)
    if actor.published is not None:
        rounds = min(rounds, actor.published.tool_rounds or rounds)
        seconds = min(seconds, actor.published.tool_seconds or seconds)
    ends_at = time.monotonic() + settings.TOOL_TURN_SECONDS - used_seconds
    return Bounds(min(rounds, MOST_TOOL_ROUNDS), min(seconds, LONGEST_TOOL_SECONDS), ends_at)


def reserve(running: Run, model: Model, target: Target, input_tokens: int, output_tokens: int) -> None:
    """Reserves what the next call may cost of all budgets that it counts for. Raises BudgetExceeded, and Unpriced."""
    of_call = with_budgets(payers_of(running.booking.actor, running.booking.bot_id))
    if of_call:
        wanted = reserving.estimate(model, target, input_tokens, output_tokens)
        running.reserve(reserving.reserve_estimate(of_call, wanted))
        release_connection()
