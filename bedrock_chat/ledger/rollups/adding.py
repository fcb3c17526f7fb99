"""Adding up rows of the ledger, for the sums of a quarter hour and for what no sum has yet."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson
from django.db.models import QuerySet

from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.rollups.histogram import bucket_of
from bedrock_chat.ledger.rollups.models import (
    GROUP_LENGTH,
    MEASURES,
    SET_LENGTH,
    TOGETHER,
    GroupMember,
    Latency,
    QuarterHour,
    QuarterUsage,
    Timed,
)
from bedrock_chat.ledger.units import units_of
from bedrock_chat.ledger.zones import QUARTER, quarter_of

COLUMNS: Final = (
    *("created_at", "payer_id", "user_id", "bot_id", "key_id", "model", "purpose", "groups", "fault"),
    *("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "price"),
    *("first_token_ms", "latency_ms", "calls"),
)
AT_A_TIME: Final = 2000

Key = tuple[Any, ...]


@dataclass(slots=True)
class Sums:
    """The sums over some calls. Keys of `together` are a quarter hour and the columns of TOGETHER, values the measures
    in their order. Keys of `latencies` are the columns of Latency before `calls`.
    """

    together: defaultdict[Key, list[int]] = field(default_factory=lambda: defaultdict(lambda: [0] * len(MEASURES)))
    latencies: Counter[Key] = field(default_factory=Counter)
    groups: dict[str, Sequence[str]] = field(default_factory=dict)
    """Set of groups → its names."""

    def rows(self) -> list[QuarterUsage]:
        """Unsaved, in an order of their own."""
        return [
            QuarterUsage(
                start=start, **dict(zip(TOGETHER, names, strict=True)), **dict(zip(MEASURES, sums, strict=True))
            )
            for (start, *names), sums in sorted(self.together.items())
        ]

    def latency_rows(self) -> list[Latency]:
        names = ("start", "model", "purpose", "timed", "bucket")
        return [
            Latency(**dict(zip(names, key, strict=True)), calls=calls) for key, calls in sorted(self.latencies.items())
        ]

    def members(self) -> list[GroupMember]:
        return [
            GroupMember(group_set=group_set, name=name) for group_set, names in self.groups.items() for name in names
        ]


def add_up(rows: "QuerySet[ModelCall, ModelCall]") -> Sums:
    """The sums over rows of the ledger, in one query."""
    sums = Sums()
    set_of: dict[tuple[str, ...], str] = {}
    for row in rows.values_list(*COLUMNS).iterator(chunk_size=AT_A_TIME):
        at, payer, user, bot, key, model, purpose, groups, fault, *tokens, price, first_token_ms, latency_ms, calls = (
            row
        )
        start, number = quarter_of(at), 1 if calls is None else calls
        names = tuple(groups or ())
        if names not in set_of:
            set_of[names] = _set_of(names)
        group_set = set_of[names]
        sums.groups.setdefault(group_set, sorted({name[:GROUP_LENGTH] for name in names if name}))
        names_of_row = (start, payer or "", user or "", bot or "", key or "", model, purpose, group_set)
        if fault and number > 1:  # of calls that one row stands for, the last one failed
            sums.together[*names_of_row, fault][0] += 1
            fault_of_sum, number = "", number - 1
        else:
            fault_of_sum = fault
        measures = sums.together[*names_of_row, fault_of_sum]
        unpriced = number if price is None and any(tokens) else 0
        for index, value in enumerate((number, *tokens, 0 if price is None else units_of(price), unpriced)):
            measures[index] += value
        if not fault:
            sums.latencies[start, model, purpose, Timed.TOTAL.value, bucket_of(latency_ms)] += 1
            if first_token_ms is not None:
                sums.latencies[start, model, purpose, Timed.FIRST_TOKEN.value, bucket_of(first_token_ms)] += 1
    return sums


def calls_of(quarter: QuarterHour) -> "QuerySet[ModelCall, ModelCall]":
    """The ledger's rows of a quarter hour."""
    keys = ModelCall.objects.filter(pk__gte=quarter.first_key, pk__lte=quarter.last_key)
    return keys.filter(created_at__gte=quarter.start, created_at__lt=quarter.start + QUARTER)


def _set_of(names: tuple[str, ...]) -> str:
    """The digest that names a set of groups; empty for the empty one."""
    if not names:
        return ""
    return hashlib.blake2b(orjson.dumps(sorted(names)), digest_size=SET_LENGTH // 2).hexdigest()
