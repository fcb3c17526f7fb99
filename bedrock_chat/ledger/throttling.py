"""The condition of an alert: Bedrock throttles more calls than the setting ALERT_THROTTLE_PERCENT allows."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Final
from urllib.parse import urlencode

from django.conf import settings
from django.urls import reverse

from bedrock_chat.alerts.conditions import Problem
from bedrock_chat.alerts.models import Severity
from bedrock_chat.bedrock.catalog import MODELS
from bedrock_chat.bedrock.faults import Throttled
from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger.models import NUMBER_OF_CALLS, ModelCall

CONDITION: Final = "throttles"
WINDOW: Final = timedelta(minutes=15)
MOST_ROWS: Final = 2_000
FEWEST_CALLS: Final = 20
"""Below that a rate says little."""


def problems() -> Iterator[Problem]:
    """One problem for each model whose calls are throttled too often, of the last ones in WINDOW.

    The ledger has no index by time: the rows with the highest keys are the newest.
    """
    newest = ModelCall.objects.order_by("-pk").values_list("created_at", "model", "fault", NUMBER_OF_CALLS)[:MOST_ROWS]
    since = database_now() - WINDOW
    calls, throttled = Counter[str](), Counter[str]()
    for created_at, model, fault, number in newest:
        if created_at >= since:
            calls[model] += number
            throttled[model] += fault == Throttled.code
    for model, number in throttled.most_common():
        percent = 100 * number / calls[model]
        if number and calls[model] >= FEWEST_CALLS and percent >= settings.ALERT_THROTTLE_PERCENT:
            yield Problem(
                subject=model,
                severity=Severity.WARNING,
                sentence=f"Bedrock throttled {percent:.0f} % of the last {calls[model]} calls to {model}.",
                remedy="Ask AWS for a higher quota, allow GLOBAL_INFERENCE, or limit who may use the model.",
                link=_link(model),
                facts={"model": model, "calls": calls[model], "throttled": number},
            )


def _link(model: str) -> str:
    """The model's page; of one that is not in the catalogue, because it makes vectors, its calls."""
    if model in MODELS:
        return reverse("admin:bedrock_chat_modeloverride_change", args=(model,))
    return f"{reverse('admin:bedrock_chat_modelcall_changelist')}?{urlencode({'model': model})}"
