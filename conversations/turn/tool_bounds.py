"""How much the tools of a turn may do: rounds, calls, time, money. A publication may only lower what its bot has."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings

from bedrock_chat.bedrock.catalog import Model, Target
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.budgets import reserving
from bedrock_chat.ledger.budgets.payers import payers_of, with_budgets
from bedrock_chat.ledger.models import ModelCall
from bots.chatting import ChattingBot
from bots.serializers.parts import LONGEST_TOOL_SECONDS, MOST_TOOL_ROUNDS
from conversations.turn.registry import Run


@dataclass(frozen=True, slots=True)
class Bounds:
    """`seconds` is how long a call may take, `ends_at` when the turn's tools are over, by `time.monotonic()`."""

    rounds: int
    seconds: float
    ends_at: float

    def are_reached(self, running: Run, *, rounds: int, calls: int) -> bool:
        """Whether the model is to answer without further tools."""
        return (
            rounds >= self.rounds
            or calls >= settings.TOOL_CALLS_PER_TURN
            or time.monotonic() >= self.ends_at
            or costs_too_much(running.calls)
        )


def of(bot: ChattingBot, actor: Caller) -> Bounds:
    """The bounds of a turn that begins now: the bot's own, else the server's, and at most the publication's."""
    rounds = bot.tool_rounds or settings.TOOL_ROUNDS
    seconds = float(bot.tool_seconds or settings.TOOL_SECONDS)
    if actor.published is not None:
        rounds = min(rounds, actor.published.tool_rounds or rounds)
        seconds = min(seconds, actor.published.tool_seconds or seconds)
    return Bounds(
        min(rounds, MOST_TOOL_ROUNDS), min(seconds, LONGEST_TOOL_SECONDS), time.monotonic() + settings.TOOL_TURN_SECONDS
    )


def costs_too_much(calls: Sequence[ModelCall]) -> bool:
    """Whether the calls of a turn have cost what they may; without a price their tokens count."""
    priced = [call.price for call in calls if call.price is not None]
    if settings.TURN_MAX_COST and sum(priced, Decimal(0)) >= Decimal(str(settings.TURN_MAX_COST)):
        return True
    unpriced = sum(
        call.input_tokens + call.output_tokens + call.cache_read_tokens + call.cache_write_tokens
        for call in calls
        if call.price is None
    )
    return bool(settings.TURN_MAX_TOKENS) and unpriced >= settings.TURN_MAX_TOKENS


def reserve(running: Run, model: Model, target: Target, input_tokens: int, output_tokens: int) -> None:
    """Reserves what the next call may cost of all budgets that it counts for. Raises BudgetExceeded, and Unpriced."""
    of_call = with_budgets(payers_of(running.booking.actor, running.booking.bot_id))
    if of_call:
        wanted = reserving.estimate(model, target, input_tokens, output_tokens)
        running.reserve(reserving.reserve_estimate(of_call, wanted))
        release_connection()
