"""What the emulator counted, and what the ledger, the sums and the budgets make of it."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from bedrock_chat.ledger import zones
from bedrock_chat.ledger.budgets import expiring, reconciling
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Reservation, Unit
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups import making, reading
from bedrock_chat.ledger.rollups.models import Dimension
from bedrock_chat.ledger.units import units_of
from tests.emulator import Emulator
from tests.ledger.calls import added
from tests.together import wait_for

KINDS = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")
COLUMNS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
LOGGED = 1_000  # entries that the emulator keeps

Tokens = tuple[int, int, int, int]


def tag(name: str) -> str:
    """What every question of a conversation has in its text, to be found in the emulator's log."""
    return f"<{name}>"


def tokens_asked(emulator: Emulator, names: Iterable[str]) -> dict[str, list[Tokens]]:
    """Name of a conversation → the tokens of each call that Bedrock says it has answered, its titles included."""
    wait_for(lambda: all(entry["outcome"] != "running" for entry in emulator.requests()))
    log = emulator.requests()
    assert len(log) < LOGGED
    asked_for: defaultdict[str, list[Tokens]] = defaultdict(list)
    names = list(names)
    for entry in log:
        body = json.dumps(entry["body"], ensure_ascii=False)
        [name] = [name for name in names if tag(name) in body]
        if entry["outcome"] == "done" and entry["usage"] is not None:
            usage = entry["usage"]
            asked_for[name].append(tuple(usage[kind] for kind in KINDS))  # type: ignore[arg-type]
    return asked_for


def tokens_in_ledger(rows: Iterable[ModelCall]) -> list[Tokens]:
    """The tokens of each call of whose usage Bedrock has told."""
    return [
        tuple(getattr(row, column) for column in COLUMNS)  # type: ignore[misc]
        for row in rows
        if not row.estimated and any(getattr(row, column) for column in COLUMNS)
    ]


def total(calls: Iterable[Tokens]) -> Tokens:
    sums = [sum(numbers) for numbers in zip(*calls, strict=True)]
    return tuple(sums) if sums else (0, 0, 0, 0)  # type: ignore[return-value]


def assert_ledger_has(
    asked_for: Mapping[str, list[Tokens]], conversations: Mapping[str, str], lost: Mapping[str, int]
) -> None:
    """Each conversation (name → its id) has in the ledger what the emulator counted, call by call.

    `lost` says how many calls of a conversation may be missing: those of processes that were killed before they wrote.
    """
    ledger: defaultdict[str, list[ModelCall]] = defaultdict(list)
    for row in ModelCall.objects.all():
        ledger[row.conversation_external_id].append(row)
    for name, external_id in conversations.items():
        counted, written = Counter(asked_for.get(name, [])), Counter(tokens_in_ledger(ledger[external_id]))
        assert written <= counted, (name, written, counted)
        assert (counted - written).total() <= lost.get(name, 0), (name, written, counted)


def assert_sums_are_the_ledgers() -> None:
    """In the sums that are made by now, and in those of all calls once these are made."""
    ledger = list(ModelCall.objects.all())
    today = timezone.now()
    span = zones.days(today.date() - zones.DAY, today.date() + zones.DAY)
    for now in (today, today + timedelta(hours=1), today + timedelta(days=70)):
        for _ in making.steps(now):
            pass
        for by in Dimension:
            figures = {value: sums.document() for value, sums in reading.usage(span, by=by).items()}
            assert figures == added(ledger, span, by), (now, by)


def assert_budgets_are_the_ledgers() -> None:
    """Nothing stays reserved, and each counter has what its payer's rows add up to, by an addition of its own."""
    Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    expiring.return_all_expired()
    assert not BudgetCounter.objects.exclude(reserved=0).exists()
    differing = [(str(one.counter), one.difference) for one in reconciling.compare_all() if one.difference]
    assert differing == [], differing
    ledger = list(ModelCall.objects.all())
    for counter in BudgetCounter.objects.all():
        own = [row for row in ledger if counter.payer_id in payers_of(row, counter.payer_kind)]
        if counter.unit == Unit.TOKENS:
            used = sum(getattr(row, column) for row in own for column in COLUMNS)
        else:
            used = sum(units_of(row.price or Decimal(0)) for row in own)
        assert counter.used == used, counter


def payers_of(row: ModelCall, kind: str) -> list[Any]:
    if kind == PayerKind.GROUP:
        return row.groups or []
    return [{PayerKind.USER: row.payer_id, PayerKind.BOT: row.bot_id, PayerKind.KEY: row.key_id}[PayerKind(kind)]]
