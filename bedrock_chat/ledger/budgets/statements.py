"""The statements on counters: one admits a call, one settles it. Each locks its counters in the order of their keys.

PostgreSQL's lock them first, and judge what they find then. On SQLite one transaction writes at a time as it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from django.db import connection

from bedrock_chat.database.compiled_sql import Batch, Rows, Statement
from bedrock_chat.ledger.budgets.amounts import Amount
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter, Period, Reservation, Unit
from bedrock_chat.ledger.budgets.payers import Payer
from bedrock_chat.ledger.budgets.periods import Span

Spans = Mapping[Period, Span]

RETURNED: Final = (
    "id",
    "payer_kind",
    "payer_id",
    "unit",
    "period",
    "label",
    "is_hard",
    "allowance",
    "used",
    "reserved",
)
_AMOUNT: Final = f"CASE counter.unit WHEN '{Unit.USD}' THEN CAST(%s AS bigint) ELSE CAST(%s AS bigint) END"
_IS_FULL: Final = "counter.is_hard AND counter.used + counter.reserved >= counter.allowance"

_MISSING: Final = """
INSERT INTO {counters} (
    budget_id, label, ends_at, payer_kind, payer_id, unit, period, is_hard, allowance, used, reserved, difference
)
SELECT budget.id, present.label, {ends_at}, budget.payer_kind, budget.payer_id, budget.unit, budget.period,
    budget.is_hard, budget.allowance, 0, 0, 0
FROM {budgets} AS budget
JOIN (SELECT 'day' AS period, {text} AS label, {text} AS ends_at
    UNION ALL SELECT 'week', {text}, {text} UNION ALL SELECT 'month', {text}, {text}) AS present
    ON present.period = budget.period
WHERE (budget.payer_kind, budget.payer_id) IN (VALUES {payers}) AND NOT EXISTS (
    SELECT 1 FROM {counters} AS counter WHERE counter.budget_id = budget.id AND counter.label = present.label
)
ORDER BY budget.id {lock}
ON CONFLICT (budget_id, label) DO NOTHING
"""
_RESERVE: Final = {
    "sqlite": """
UPDATE {counters} AS counter SET reserved = counter.reserved + {amount}
WHERE {matches} AND NOT EXISTS (SELECT 1 FROM {counters} AS counter WHERE {matches} AND {is_full})
RETURNING {returned}
""",
    "postgresql": """
WITH wanted AS MATERIALIZED (
    SELECT counter.id, {is_full} AS is_full FROM {counters} AS counter WHERE {matches}
    ORDER BY counter.id FOR UPDATE
)
UPDATE {counters} AS counter SET reserved = counter.reserved + {amount}
FROM wanted WHERE counter.id = wanted.id AND NOT EXISTS (SELECT 1 FROM wanted WHERE wanted.is_full)
RETURNING {returned}
""",
}
_SETTLE: Final = {
    "sqlite": """
UPDATE {counters} AS counter SET
    reserved = counter.reserved - CASE WHEN {is_reserved} THEN {amount} ELSE 0 END,
    used = max(0, counter.used + CASE WHEN {matches} THEN {amount} ELSE 0 END)
WHERE {is_reserved} OR ({matches})
RETURNING {returned}, alerted_at
""",
    "postgresql": """
WITH wanted AS MATERIALIZED (
    SELECT counter.id, {is_reserved} AS is_reserved, {matches} AS matches FROM {counters} AS counter
    WHERE {is_reserved} OR ({matches}) ORDER BY counter.id FOR UPDATE
)
UPDATE {counters} AS counter SET
    reserved = counter.reserved - CASE WHEN wanted.is_reserved THEN {amount} ELSE 0 END,
    used = greatest(0, counter.used + CASE WHEN wanted.matches THEN {amount} ELSE 0 END)
FROM wanted WHERE counter.id = wanted.id
RETURNING {returned}, counter.alerted_at
""",
}


@dataclass(frozen=True, slots=True)
class Counted:
    """A counter as a statement left it."""

    pk: int
    payer_kind: str
    payer_id: str
    unit: str
    period: str
    label: str
    is_hard: bool
    allowance: int
    used: int
    reserved: int
    alerted_at: object = None

    @property
    def is_full(self) -> bool:
        """Whether a hard budget would refuse a call now."""
        return self.is_hard and self.used + self.reserved >= self.allowance


def counted(rows: Rows) -> list[Counted]:
    """What `reserve` or `settle` returned. Only the latter says who has been told."""
    return [Counted(*row) for row in rows]


def make_missing(batch: Batch, payers: Sequence[Payer], spans: Spans) -> None:
    """Makes the counters of these periods that the payers' budgets do not have yet."""
    sql = _sql("missing", connection.vendor, len(payers), 0)
    values: list[Any] = []
    for period in (Period.DAY, Period.WEEK, Period.MONTH):
        values += [spans[period].label, f"{spans[period].ends_at:%Y-%m-%d %H:%M:%S}"]
    batch.run(sql, [*values, *_flat(payers)])


def reserve(batch: Batch, payers: Sequence[Payer], spans: Spans, amount: Amount) -> Statement[Rows]:
    """Reserves an amount of every counter of the payers, if each hard one has room. Else it returns no rows."""
    sql = _sql("reserve", connection.vendor, len(payers), 0)
    matches, wanted = _matches(payers, spans), [amount.usd, amount.tokens]
    values = [*matches, *wanted] if connection.vendor == "postgresql" else [*wanted, *matches, *matches]
    return batch.run(sql, values)


def settle(
    batch: Batch, payers: Sequence[Payer], spans: Spans, used: Amount, counters: Sequence[int], reserved: Amount
) -> Statement[Rows]:
    """Adds what was used to every counter of the payers, and takes what was reserved from these counters.

    Of a call that was counted when it began, less than nothing may be added. A counter that did not know of it yet
    stays at 0, until it is compared with the ledger.
    """
    keys: Sequence[int | None] = counters or [None]
    sql = _sql("settle", connection.vendor, len(payers), len(keys))
    matches, taken, added = _matches(payers, spans), [reserved.usd, reserved.tokens], [used.usd, used.tokens]
    values = (
        [*keys, *matches, *keys, *matches, *taken, *added]
        if connection.vendor == "postgresql"
        else [*keys, *taken, *matches, *added, *keys, *matches]
    )
    return batch.run(sql, values)


def delete_reservation(batch: Batch, pk: int) -> Statement[Rows]:
    """Deletes a reservation, if nobody has done so, and returns its counters and its amounts."""
    table = connection.ops.quote_name(Reservation._meta.db_table)
    return batch.run(f"DELETE FROM {table} WHERE id = %s RETURNING counters, usd, tokens", [pk])  # noqa: S608


def _flat(payers: Sequence[Payer]) -> list[str]:
    return [str(part) for payer in payers for part in payer]


def _matches(payers: Sequence[Payer], spans: Spans) -> list[str]:
    """The values of a statement's `{matches}`."""
    return [*(span.label for span in spans.values()), *_flat(payers)]


@lru_cache(maxsize=64)
def _sql(name: str, vendor: str, payers: int, keys: int) -> str:
    is_sqlite = vendor == "sqlite"
    text = "CAST(%s AS text)"
    values = ", ".join([f"({text}, {text})"] * payers)
    statement = {"missing": _MISSING, "reserve": _RESERVE[vendor], "settle": _SETTLE[vendor]}[name]
    return statement.format(
        counters=connection.ops.quote_name(BudgetCounter._meta.db_table),
        budgets=connection.ops.quote_name(Budget._meta.db_table),
        text=text,
        ends_at="present.ends_at" if is_sqlite else "CAST(present.ends_at || '+00' AS timestamptz)",
        payers=values,
        # A budget that is being removed is waited for, and then is none.
        lock="" if is_sqlite else "FOR KEY SHARE OF budget",
        matches="counter.label IN (%s, %s, %s) AND "
        + (f"(counter.payer_kind, counter.payer_id) IN (VALUES {values})" if payers else "1 = 0"),
        is_full=_IS_FULL,
        is_reserved=f"counter.id IN ({', '.join(['CAST(%s AS bigint)'] * keys)})",
        amount=_AMOUNT,
        returned=", ".join(RETURNED if is_sqlite else [f"counter.{column}" for column in RETURNED]),
    )
