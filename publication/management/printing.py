"""How the commands about keys tell of one."""

from datetime import UTC, datetime
from typing import Any

from publication.keys import Shown
from publication.models import ApiKey


def key_document(key: ApiKey) -> dict[str, Any]:
    """A key without its value."""
    return {
        "id": key.pk,
        "bot": key.publication.bot_id,
        "description": key.description,
        "lineage": key.lineage,
        "replacedBy": key.replaced_by or None,
        "createdAt": iso(key.created_at),
        "expiresAt": iso(key.expires_at),
        "lastUsedAt": iso(key.last_used_at),
        "lastUsedAddress": key.last_used_address,
        "lastUsedAgent": key.last_used_agent,
    }


def shown_document(shown: Shown, **facts: Any) -> dict[str, Any]:
    """A key with its value, which is null where no copy is kept."""
    return {**key_document(shown.key), "value": shown.value or None, **facts}


def value_sentence(shown: Shown) -> str:
    return shown.value or "Its value was shown once, when it was made; no copy is kept (API_KEY_REVEAL=once)."


def iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")


def day_and_time(moment: datetime | None) -> str:
    return "never" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
