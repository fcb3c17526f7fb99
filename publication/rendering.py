"""Builds the JSON of publications, keys and published answers. `serializers` only documents these shapes."""

from collections.abc import Iterable
from typing import Any

from bedrock_chat.wire.moments import whole_milliseconds
from bots.models import Bot
from bots.rendering import shared_status
from conversations import rendering
from conversations.access import Answer
from conversations.content.files import ShowFile
from publication import lifecycle
from publication.accepting import Accepted
from publication.keys import Shown
from publication.models import ApiKey, Publication, TurnRequest

Wire = dict[str, Any]


def publication_output(publication: Publication, key_ids: Iterable[str]) -> Wire:
    """A publication. Frontends look for the words of the stacks that were built for each bot elsewhere."""
    return {
        "stage": publication.stage,
        "quota": {
            "limit": publication.quota_limit,
            "offset": None if publication.quota_limit is None else publication.quota_offset,
            "period": publication.quota_period,
        },
        "throttle": {"rateLimit": publication.rate_limit, "burstLimit": publication.burst_limit},
        "allowedOrigins": publication.allowed_origins,
        "allowedNetworks": publication.allowed_networks,
        "limitsScope": publication.limits_scope,
        "botVersion": publication.bot_version,
        "storeOpenAI": publication.store_openai,
        "toolRounds": publication.tool_rounds,
        "toolSeconds": publication.tool_seconds,
        "cfnStatus": "CREATE_COMPLETE",
        "codebuildId": f"publish-api:{publication.pk}",
        "codebuildStatus": "SUCCEEDED",
        "endpoint": lifecycle.endpoint(publication),
        "apiKeyIds": list(key_ids),
    }


def key_output(shown: Shown) -> Wire:
    return {"value": shown.value, **_key(shown.key)}


def listed_keys(keys: Iterable[ApiKey]) -> list[Wire]:
    """Keys without their values."""
    return [{**_key(key), "lineage": key.lineage, "replacedBy": key.replaced_by or None} for key in keys]


def _key(key: ApiKey) -> Wire:
    return {
        "id": key.pk,
        "description": key.description,
        "enabled": key.is_enabled,
        "createdDate": whole_milliseconds(key.created_at),
        "expiresAt": whole_milliseconds(key.expires_at),
        "lastUsedAt": whole_milliseconds(key.last_used_at),
        "lastUsedAddress": key.last_used_address,
        "lastUsedAgent": key.last_used_agent,
    }


def accepted(ids: Accepted | TurnRequest) -> Wire:
    return {"conversationId": ids.conversation_id, "messageId": ids.message_id}


def answer_output(answer: Answer, show: ShowFile) -> Wire:
    """An answer of a published API: as of the main one, without the bot, which the caller knows."""
    output = rendering.chat_output(answer, show)
    return {name: output[name] for name in ("conversationId", "message", "createTime")}


def published_bot(bot: Bot) -> Wire:
    return {
        "id": bot.pk,
        "title": bot.title,
        "description": bot.description,
        "publishedStackName": f"ApiPublishmentStack{bot.pk}",
        "publishedDatetime": whole_milliseconds(bot.published_at),
        "ownerUserId": bot.owner_id,
        "sharedScope": bot.scope,
        "sharedStatus": shared_status(bot),
    }
