"""The condition of alerts about keys: some end soon, and nobody has made another in their place."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db.models import QuerySet
from django.urls import reverse

from bedrock_chat.alerts.conditions import MOST, Problem
from bedrock_chat.alerts.models import Severity
from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger import zones
from publication.models import ApiKey

CONDITION: Final = "keys"


def ending_soon(keys: "QuerySet[ApiKey]") -> "QuerySet[ApiKey]":
    """Keys that work now, end within ALERT_KEY_DAYS, and that no rotation has replaced yet."""
    now = database_now()
    until = now + timedelta(days=settings.ALERT_KEY_DAYS)
    return keys.filter(expires_at__gt=now, expires_at__lte=until, is_enabled=True, replaced_by="")


def problems() -> Iterator[Problem]:
    """A problem for each key that ends soon and whose owner is not suspended, the next to end first."""
    keys = ending_soon(ApiKey.objects.valid())
    for key in keys.select_related("publication").order_by("expires_at", "pk")[:MOST]:
        assert key.expires_at is not None
        yield Problem(
            subject=f"{key.pk}:{key.expires_at:%Y-%m-%d}",  # a later end is another state
            severity=Severity.WARNING,
            sentence=f"The key {key.pk} of the API of bot {key.publication.bot_id} ends at "
            f"{zones.written(key.expires_at)}.",
            remedy="Rotate it, give its program the new one, or let it end if nobody needs it.",
            link=reverse("admin:publication_apikey_change", args=(key.pk,)),
            facts={"key": key.pk, "bot": key.publication.bot_id, "expiresAt": key.expires_at.isoformat()},
        )
