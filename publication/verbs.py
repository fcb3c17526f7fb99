"""What the audit records of publications and keys."""

from bedrock_chat.audit.verbs import flag, ids, number, one_of, register
from publication.models import LimitsScope, Period

_LIMITS = {
    "quota_limit": number,
    "quota_offset": number,
    "quota_period": one_of(lambda: Period.values),
    "rate_limit": number,
    "burst_limit": number,
    "limits_scope": one_of(lambda: LimitsScope.values),
    "allowed_origins": ids,
    "allowed_networks": ids,
    "bot_version": number,
    "store_openai": flag,
    "tool_rounds": number,
    "tool_seconds": number,
}

PUBLISH = register("publish", target="bot", values=_LIMITS)
CHANGE = register("change publication", target="bot", values=_LIMITS)
WITHDRAW = register("withdraw", target="bot")
CREATE_KEY = register("create", target="api key")
CHANGE_KEY = register("change", target="api key", values={"is_enabled": flag})
ROTATE_KEY = register("rotate", target="api key", values={"overlap_hours": number})
REVOKE_KEY = register("revoke", target="api key")
REVEAL_KEY = register("reveal", target="api key")
TOP_UP = register("top up", target="api key", values={"requests": number})
