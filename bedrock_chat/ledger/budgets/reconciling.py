"""Holding what was used of budgets against the ledger, which is the truth."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.db.models import BigIntegerField, BooleanField, DecimalField, ExpressionWrapper, F, Min, Q, QuerySet, Sum
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast, Coalesce, Round

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.ledger import units
from bedrock_chat.ledger.budgets import amounts, periods
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Unit
from bedrock_chat.ledger.models import ModelCall, paid_by
from bedrock_chat.ledger.rollups.models import QuarterHour

logger = logging.getLogger(__name__)

BEGIN_KIND: Final = "begin budget"
BEGIN_SECONDS: Final = 12.0
"""After so long every process counts for a new budget: `payers.FRESH_SECONDS`, and a close that was under way."""
LOOK_BACK: Final = timedelta(days=2)
"""Periods that ended longer ago were compared then."""
KEPT: Final = timedelta(days=400)
"""So long after its end a period's counter is kept."""
COLUMNS: Final = {PayerKind.BOT: "bot_id", PayerKind.KEY: "key_id"}


@dataclass(frozen=True, slots=True)
class Compared:
    """A counter, and what the ledger has more than its `used`."""

    counter: BudgetCounter
    difference: int


def in_ledger(counter: BudgetCounter) -> int:
    """What the ledger says was used in a counter's period."""
    span = periods.of_label(counter.period, counter.label)
    calls = _calls_of(counter, span.starts_at).filter(created_at__gte=span.starts_at, created_at__lt=span.ends_at)
    total = tokens_used() if counter.unit == Unit.TOKENS else usd_used()
    return int(calls.aggregate(total=total)["total"])


def tokens_used() -> Coalesce:
    """The tokens of all kinds of some calls, as an aggregate."""
    kinds = F("input_tokens") + F("output_tokens") + F("cache_read_tokens") + F("cache_write_tokens")
    return Coalesce(Sum(Cast(kinds, BigIntegerField())), 0, output_field=BigIntegerField())


def usd_used() -> Coalesce:
    """What some calls cost, in ten-billionths of a USD, as an aggregate: exact on SQLite too."""
    digits = DecimalField(max_digits=30, decimal_places=10)
    scaled = ExpressionWrapper(F("price") * 10**units.DIGITS, output_field=digits)
    return Coalesce(Sum(Cast(Round(scaled), BigIntegerField())), 0, output_field=BigIntegerField())


def _calls_of(counter: BudgetCounter, starts_at: datetime) -> QuerySet[ModelCall]:
    """The calls that count for a counter, and perhaps some from before its period."""
    kind = PayerKind(counter.payer_kind)
    if kind in COLUMNS:
        return ModelCall.objects.filter(**{COLUMNS[kind]: counter.payer_id})
    counts = paid_by(counter.payer_id) if kind == PayerKind.USER else _is_in_group(counter.payer_id)
    return ModelCall.objects.filter(counts, pk__gte=_first_key_since(starts_at))


def _is_in_group(name: str) -> Q | RawSQL:
    """Whether a call counts for a group. Django knows this of PostgreSQL's JSON alone."""
    if connection.vendor == "postgresql":
        return Q(groups__contains=[name])
    column = f"{connection.ops.quote_name(ModelCall._meta.db_table)}.{connection.ops.quote_name('groups')}"
    is_in = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE json_each.value = %s)"  # noqa: S608  names of ours
    return RawSQL(is_in, [name], output_field=BooleanField())  # noqa: S611  the name is a parameter


def _first_key_since(moment: datetime) -> int:
    """A key that is no higher than that of any call since then, as the roll-ups know them. 0 where they know none."""
    first: int | None = QuarterHour.objects.filter(start__gte=moment).aggregate(first=Min("first_key"))["first"]
    return first or 0


def compare(counter: BudgetCounter, *, repairs: bool = False) -> Compared:
    """Notes how a counter differs from the ledger. `repairs` has it say what the ledger says.

    What settles a call writes to both in one transaction, which the lock on the counter waits for or keeps waiting. The
    lock is taken only where there seems to be a difference.
    """
    if not repairs and in_ledger(counter) == counter.used:
        BudgetCounter.objects.filter(pk=counter.pk).update(compared_at=database_now(), difference=0)
        return Compared(counter, 0)
    with transaction.atomic():
        locked = BudgetCounter.objects.select_for_update().filter(pk=counter.pk).first()
        if locked is None:  # its budget was removed meanwhile
            return Compared(counter, 0)
        used = in_ledger(locked)
        difference = used - locked.used
        columns = {"used": used} if repairs else {"difference": difference}
        BudgetCounter.objects.filter(pk=locked.pk).update(compared_at=database_now(), **columns)
    return Compared(locked, difference)


def compare_all(*, repairs: bool = False) -> Iterator[Compared]:
    """Compares every counter whose period runs or has ended within LOOK_BACK."""
    recent = BudgetCounter.objects.filter(ends_at__gt=database_now() - LOOK_BACK)
    keys = list(recent.order_by("pk").values_list("pk", flat=True))
    for pk in keys:
        counter = BudgetCounter.objects.filter(pk=pk).first()
        if counter is not None:
            compared = compare(counter, repairs=False)
            yield compare(counter, repairs=True) if repairs and compared.difference else compared


def begin(job: Claimed) -> None:
    """The job of a new budget: its counters say what the ledger has of the periods that run.

    By now every process counts for it. What was spent before, and while some did not know of it, is in the ledger.
    """
    running = BudgetCounter.objects.filter(budget=job.payload["budget"], ends_at__gt=database_now())
    for counter in running:
        compare(counter, repairs=True)
    with transaction.atomic():
        job.finish()


def reconcile(job: Claimed) -> None:
    """A daily job: says in the log which counters differ from the ledger, and deletes those that ended long ago."""
    for compared in compare_all():
        if compared.difference:
            logger.error(
                "the budget of %s differs from the ledger by %s: manage.py reconcile_ledger --repair corrects it",
                compared.counter,
                amounts.sentence(compared.difference, compared.counter.unit),
            )
    BudgetCounter.objects.filter(ends_at__lt=database_now() - KEPT).delete()
    with transaction.atomic():
        job.finish()
