"""Published bots, page by page, for Admin."""

import base64
import binascii
from dataclasses import dataclass

from bedrock_chat.database.text import is_storable
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.permissions import refuse_all_but_admin
from bedrock_chat.wire.errors import BadRequest
from bots.models import Bot

USUAL, MOST = 100, 1000
_MARK = "published:"


@dataclass(frozen=True, slots=True)
class Page:
    bots: list[Bot]
    next_token: str | None


def published_bots(limit: int, token: str | None, *, actor: Caller) -> Page:
    """The bots that are published, by id. Raises Forbidden for all but Admin, and BadRequest for a token of no page."""
    refuse_all_but_admin(actor)
    rows = Bot.objects.filter(published_at__isnull=False).order_by("pk")
    if token is not None:
        rows = rows.filter(pk__gt=_last(token))
    unread = ("instruction", "configuration", "encrypted_secrets")
    bots = list(rows.defer(*unread)[: limit + 1])
    shown = bots[:limit]
    return Page(shown, _token(shown[-1].pk) if len(bots) > limit else None)


def _token(bot_id: str) -> str:
    return base64.urlsafe_b64encode(f"{_MARK}{bot_id}".encode()).decode().rstrip("=")


def _last(token: str) -> str:
    try:
        raw = token.encode("ascii")
        text = base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error, ValueError):
        text = ""
    if not text.startswith(_MARK) or not is_storable(text):
        raise BadRequest("next_token: this is no token of this list; begin without one.")
    return text.removeprefix(_MARK)
