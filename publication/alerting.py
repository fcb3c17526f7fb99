"""The condition of alerts about keys: some end soon, and nobody has made another in their place."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Final

from django.conf import settings
from django.urls import reverse

from bedrock_chat.alerts.conditions import MOST, Problem
from bedrock_chat.alerts.models import Severity
from bedrock_chat.database.connections import database_now
from publication.models import ApiKey

CONDITION: Final = "keys"


def problems() -> Iterator[Problem]:
    """Keys that work and end within ALERT_KEY_DAYS, the next to end first. One that was rotated has its successor."""
    until = database_now() + timedelta(days=settings.ALERT_KEY_DAYS)
    keys = ApiKey.objects.valid().filter(expires_at__lte=until, replaced_by="")
    for key in keys.select_related("publication").order_by("expires_at", "pk")[:MOST]:
        assert key.expires_at is not None
        yield Problem(
            subject=f"{key.pk}:{key.expires_at:%Y-%m-%d}",  # a later end is another state
            severity=Severity.WARNING,
            sentence=f"The key {key.pk} of the API of bot {key.publication.bot_id} ends at "
            f"{key.expires_at:%Y-%m-%d %H:%M} UTC.",
            remedy="Rotate it, give its program the new one, or let it end if nobody needs it.",
            link=reverse("admin:publication_apikey_change", args=(key.pk,)),
            facts={"key": key.pk, "bot": key.publication.bot_id, "expiresAt": key.expires_at.isoformat()},
        )
