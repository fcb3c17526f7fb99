"""What conversations have cost, from the ledger: one query for people's and one for published APIs', however many."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from django.db.models import Q, QuerySet, Sum

from bedrock_chat.ledger.models import NUMBER_OF_CALLS, ModelCall
from conversations.models import Conversation

TOKENS: Final = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
SUMS: Final = {
    "number_of_calls": Sum(NUMBER_OF_CALLS),
    **{f"sum_of_{name}": Sum(name) for name in TOKENS},
    "sum_of_prices": Sum("price"),
    "unpriced": Sum(NUMBER_OF_CALLS, filter=Q(price__isnull=True), default=0),
}
NOTHING: Final = Decimal(0)


@dataclass(slots=True)
class Cost:
    """`price` is USD, without the `unpriced` calls. Tokens are in the order of TOKENS."""

    calls: int = 0
    tokens: list[int] = field(default_factory=lambda: [0] * len(TOKENS))
    price: Decimal = NOTHING
    unpriced: int = 0

    def add(self, calls: int, tokens: Sequence[int], price: Decimal | None, unpriced: int) -> None:
        self.calls += calls
        self.tokens = [known + more for known, more in zip(self.tokens, tokens, strict=True)]
        self.price += price or NOTHING
        self.unpriced += unpriced


def of_conversations(rows: Sequence[Conversation]) -> dict[int, Cost]:
    """Conversation's key → its cost. One without calls is left out."""
    costs: dict[int, Cost] = {}
    for (key, *_), *sums in _sums(rows, ()):
        costs.setdefault(key, Cost()).add(*sums)
    return costs


def of_questions(rows: Sequence[Conversation]) -> dict[tuple[int, str], dict[str, Cost]]:
    """Conversation's key and question's id → model → cost. What no question caused has an empty id: a title."""
    costs: dict[tuple[int, str], dict[str, Cost]] = {}
    for (key, question, model), *sums in _sums(rows, ("message_external_id", "model")):
        costs.setdefault((key, question), {}).setdefault(model, Cost()).add(*sums)
    return costs


def _sums(rows: Sequence[Conversation], by: tuple[str, ...]) -> list[Any]:
    """Key and what else it is summed by, and then the arguments of `Cost.add`."""
    sums = []
    for column in ("user_id", "publication_id"):
        keys = {(getattr(row, column), row.external_id): row.pk for row in rows if getattr(row, column) is not None}
        for owner, external_id, *rest in _query(column, keys, by) if keys else ():
            key = keys.get((owner, external_id))  # pairs that nobody wants are found by the two lists, too
            if key is not None:
                names, (calls, *tokens, price, unpriced) = rest[: len(by)], rest[len(by) :]
                sums.append(((key, *names), calls, tokens, price, unpriced))
    return sums


def _query(column: str, keys: dict[tuple[Any, str], int], by: tuple[str, ...]) -> "QuerySet[ModelCall, Any]":
    """By the index of the ledger that begins with the owner and the conversation."""
    owners, external_ids = ({pair[place] for pair in keys} for place in (0, 1))
    calls = ModelCall.objects.filter(**{f"{column}__in": owners, "conversation_external_id__in": external_ids})
    names = (column, "conversation_external_id", *by)
    summed = calls.order_by().values(*names).annotate(**SUMS)
    rows: QuerySet[ModelCall, Any] = summed.values_list(*names, *SUMS)
    return rows
