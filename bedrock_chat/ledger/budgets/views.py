"""What the caller may still spend, over REST."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.identity.caller import caller_of
from bedrock_chat.ledger.budgets import amounts, reading
from bedrock_chat.ledger.budgets.models import PayerKind
from bedrock_chat.ledger.budgets.reading import Standing
from bedrock_chat.ledger.budgets.serializers import SpendingSerializer
from bedrock_chat.ledger.rollups.figures import Figures
from bedrock_chat.wire.moments import milliseconds
from bedrock_chat.wire.views import WireViewSet


class BudgetViewSet(WireViewSet):
    """The caller's budgets, and what they used."""

    @extend_schema(
        operation_id="get_budget",
        summary="What is left of the caller's budgets, and what they used this month",
        description="Budgets are the caller's own and those of their groups. Months are those of the server's zone.",
        tags=["user"],
        responses={200: SpendingSerializer},
    )
    def retrieve(self, request: Request) -> Response:
        spending = reading.spending_of(caller_of(request))
        return Response(
            {
                "budgets": [_budget(standing) for standing in spending.budgets],
                "since": milliseconds(spending.month.starts_at),
                "used": _used(spending.total),
                "byModel": [{"model": model, **_used(used)} for model, used in spending.by_model],
                "byBot": [{"botId": bot_id or None, **_used(used)} for bot_id, used in spending.by_bot],
            }
        )


def _budget(standing: Standing) -> dict[str, Any]:
    budget = standing.budget

    def amount(value: int) -> float:
        return float(amounts.shown(value, budget.unit))

    return {
        "payer": budget.payer_kind,
        "group": budget.payer_id if budget.payer_kind == PayerKind.GROUP else None,
        "unit": budget.unit,
        "period": budget.period,
        "hard": budget.is_hard,
        "limit": amount(budget.allowance),
        "used": amount(standing.used),
        "reserved": amount(standing.reserved),
        "remaining": amount(standing.remaining),
        "exceeded": standing.is_exceeded,
        "startsAt": milliseconds(standing.span.starts_at),
        "endsAt": milliseconds(standing.span.ends_at),
    }


def _used(used: Figures) -> dict[str, Any]:
    return {
        "calls": used.calls,
        "unpricedCalls": used.unpriced,
        "price": float(used.price),
        "inputTokens": used.input_tokens,
        "outputTokens": used.output_tokens,
        "cacheReadTokens": used.cache_read_tokens,
        "cacheWriteTokens": used.cache_write_tokens,
    }
