"""Rows of the ledger that tests start from, and what their sums are by plain addition."""

import random
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.ledger.zones import Span

NOON = datetime(2026, 3, 3, 12, 0, tzinfo=UTC)
MODELS = ("claude-v4.5-sonnet", "amazon-nova-pro", "mistral-large-2")
FAULTS = ("", "", "", "", "", "ThrottlingException", "ModelStreamErrorException", "ProcessLost")


def call(at: datetime = NOON, **columns: Any) -> ModelCall:
    """An unsaved call of Alice's."""
    columns = {
        "purpose": Purpose.TURN,
        "user_id": "alice",
        "payer_id": "alice",
        "conversation_external_id": "c",
        "model": MODELS[0],
        "latency_ms": 1200,
        "price": Decimal("0.0123456789"),
        "input_tokens": 11,
        "output_tokens": 7,
        "groups": [],
        **columns,
    }
    return ModelCall(created_at=at, **columns)


def random_call(rng: random.Random, at: datetime) -> ModelCall:
    person = rng.choice(["alice", "bob", "carol"])
    is_published, is_fault = rng.random() < 0.3, rng.random() < 0.2
    price = None if rng.random() < 0.1 else Decimal(rng.randrange(10 ** rng.randrange(1, 12))).scaleb(-10)
    return call(
        at,
        user_id=None if is_published else person,
        payer_id=person,
        publication_id="p" if is_published else None,
        key_id=rng.choice(["k1", "k2"]) if is_published else None,
        bot_id=rng.choice(["b1", "b2", None]),
        groups=rng.choice([None, [], ["sales"], ["legal", "sales"]]),
        purpose=rng.choice(list(Purpose)),
        model=rng.choice(MODELS),
        fault=rng.choice(FAULTS) if is_fault else "",
        input_tokens=rng.randrange(2000),
        cache_read_tokens=rng.randrange(50),
        cache_write_tokens=rng.randrange(50),
        price=price,
        first_token_ms=rng.choice([None, rng.randrange(5000)]),
        calls=rng.choice([None, None, 1, 96]),
        latency_ms=rng.randrange(100_000),
    )


def moments(rng: random.Random, span: Span, count: int) -> list[datetime]:
    """In their order, some of them at the very beginning of an hour."""
    seconds = int((span.end - span.start).total_seconds())
    drawn = sorted(rng.randrange(seconds) // rng.choice([1, 3600]) for _ in range(count))
    return sorted(span.start + timedelta(seconds=second) for second in drawn)


def values_of(row: ModelCall, by: Dimension) -> Iterable[str]:
    if by == Dimension.GROUP:
        return row.groups or []
    column = {"user": "payer_id", "bot": "bot_id", "key": "key_id", "model": "model"}[by]
    value = getattr(row, column)
    return [value] if value else []


def added(rows: Iterable[ModelCall], span: Span, by: Dimension) -> dict[str, dict[str, Any]]:
    """The documents of the figures of a span, added one by one from the ledger's rows."""
    sums: dict[str, dict[str, Any]] = {}
    faults: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        if not span.start <= row.created_at < span.end:
            continue
        for value in values_of(row, by):
            total = sums.setdefault(value, defaultdict(int, price=Decimal(0)))
            tokens = (row.input_tokens, row.output_tokens, row.cache_read_tokens, row.cache_write_tokens)
            names = ("inputTokens", "outputTokens", "cacheReadTokens", "cacheWriteTokens")
            for name, number in zip(names, tokens, strict=True):
                total[name] += number
            number = 1 if row.calls is None else row.calls
            total["calls"] += number
            total["price"] += row.price or 0
            used = number - 1 if row.fault and number > 1 else number  # of several, the one that failed used nothing
            total["unpricedCalls"] += used if row.price is None and any(tokens) else 0
            if row.fault:
                faults[value][row.fault] += 1
    return {
        value: {
            **total,
            "price": f"{total['price']:.10f}",
            "faults": dict(sorted(faults[value].items())),
            "throttles": faults[value]["ThrottlingException"],
        }
        for value, total in sums.items()
    }
