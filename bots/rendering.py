"""Builds the JSON of bots that clients read. `serializers` only documents these shapes."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

import orjson

from bedrock_chat.wire.moments import milliseconds, whole_milliseconds
from bedrock_chat.wire.names import camel
from bots import files, warnings
from bots.access import Found
from bots.configuration import (
    DEFAULT_GENERATION_PARAMS,
    Configuration,
    Guardrails,
    Tool,
    active_models,
    files_of,
    has_knowledge,
)
from bots.content import MASK, configuration_of
from bots.knowledge import status
from bots.listing import BYTES_PER_CHARACTER, Entry
from bots.models import Bot, BotContent, BotVersion, Scope
from bots.sharing import People

Wire = dict[str, Any]

PARTS = {
    "generation_params": "generationParams",
    "tools": "agent",
    "knowledge": "knowledge",
    "bedrock_knowledge_base": "bedrockKnowledgeBase",
    "bedrock_guardrails": "bedrockGuardrails",
    "quick_starters": "conversationQuickStarters",
    "inactive_models": "activeModels",
    "prompt_caching_enabled": "promptCachingEnabled",
    "display_retrieved_chunks": "displayRetrievedChunks",
    "tool_rounds": "toolRounds",
    "tool_seconds": "toolSeconds",
}
"""Part of a configuration → its field on the wire."""


def size_of(row: BotContent) -> int:
    """About how many bytes the content of a bot or of a version takes on the wire, at most."""
    characters = len(row.title) + len(row.description) + len(row.instruction)
    return characters * BYTES_PER_CHARACTER + len(orjson.dumps(row.configuration))


def bot_output(
    bot: Bot, people: People, last_used_at: datetime | None, *, guardrails: Guardrails | None = None
) -> Wire:
    """The whole bot, for its owner. `guardrails`: as the owner reads them (`guarding.shown`), else as they are set."""
    return {
        "id": bot.pk,
        **_content(bot, guardrails),
        **_administration(bot, people, last_used_at),
        "isPublication": bot.published_at is not None,
        "allowCloning": bot.allow_cloning,
        "version": bot.version,
        "warnings": _warnings(bot),
    }


def spending_bot(bot: Bot, price: Decimal) -> Wire:
    """A bot with what it has cost, for Admin."""
    return {
        "id": bot.pk,
        "title": bot.title,
        "description": bot.description,
        "isPublished": bot.published_at is not None,
        "publishedDatetime": whole_milliseconds(bot.published_at),
        "ownerUserId": bot.owner_id,
        "sharedScope": bot.scope,
        "sharedStatus": shared_status(bot),
        "totalPrice": float(price),
    }


def modify_output(bot: Bot, *, guardrails: Guardrails | None, nulls: Iterable[str] = ()) -> Wire:
    """The response to an edit. As recorded, the knowledge base and the guardrails are null where null was sent."""
    nulled = {camel(name): None for name in nulls if name in ("bedrock_knowledge_base", "bedrock_guardrails")}
    return {
        "id": bot.pk,
        **_content(bot, guardrails),
        **nulled,
        "allowCloning": bot.allow_cloning,
        "version": bot.version,
        "warnings": _warnings(bot),
    }


def admin_output(bot: Bot, people: People, last_used_at: datetime | None) -> Wire:
    """Anybody's bot, for Admin."""
    content = _content(bot)
    return {
        "id": bot.pk,
        **{name: content[name] for name in ("title", "description", "instruction", "knowledge")},
        **_administration(bot, people, last_used_at),
    }


def summary(usable: Found, *, is_owned: bool) -> Wire:
    """A bot, for somebody who is about to chat with it."""
    bot, alias = usable.bot, usable.alias
    return {
        "id": bot.pk,
        "title": bot.title,
        "description": bot.description,
        "createTime": milliseconds(bot.created_at),
        "lastUsedTime": milliseconds((alias and alias.last_used_at) or bot.created_at),
        "isStarred": alias is not None and alias.is_starred,
        "hasAgent": bool(bot.configuration["tools"]),
        "owned": is_owned,
        "syncStatus": status.of_bot(bot)[0],
        "hasKnowledge": has_knowledge(bot.configuration),
        "conversationQuickStarters": bot.configuration["quick_starters"],
        "activeModels": active_models(bot.configuration),
        "sharedScope": bot.scope,
        "sharedStatus": shared_status(bot),
        "warnings": _warnings(bot),
    }


def metas(entries: Iterable[Entry]) -> list[Wire]:
    """A list of bots, in the order of the entries."""
    return [_meta(entry) for entry in entries]


def version_metas(versions: Iterable[BotVersion]) -> list[Wire]:
    return [{"version": version.number, "title": version.title, **_authorship(version)} for version in versions]


def version_output(version: BotVersion, before: BotVersion | None) -> Wire:
    """A version, with what it changed in the version before."""
    content = _content(version)
    changes = None
    if before is not None or version.number == 1:
        earlier = _content(before) if before is not None else {}
        names = [PARTS.get(name, name) for name in version.changed]
        changes = {
            name: None if name == "secrets" else {"before": earlier.get(name), "after": content[name]} for name in names
        }
    return {
        "id": version.bot_id,
        **content,
        "version": version.number,
        **_authorship(version),
        "changes": changes,
        "warnings": _warnings(version),
    }


def _authorship(version: BotVersion) -> Wire:
    return {
        "createTime": milliseconds(version.created_at),
        "authorUserId": version.author_id,
        "changed": [PARTS.get(name, name) for name in version.changed],
    }


def _meta(entry: Entry) -> Wire:
    bot = entry.bot
    return {
        "id": entry.bot_id,
        "title": entry.title,
        "description": entry.description,
        "createTime": milliseconds(entry.created_at),
        "lastUsedTime": milliseconds(entry.last_used_at),
        "isStarred": entry.is_starred,
        "owned": entry.is_owned,
        "available": bot is not None,
        "syncStatus": entry.sync_status,
        "sharedScope": bot.scope if bot else Scope.PRIVATE,
        "sharedStatus": shared_status(bot) if bot else "unshared",
    }


def shared_status(bot: Bot) -> str:
    if bot.pinned_order is not None:
        return f"pinned@{bot.pinned_order:03}"
    return "unshared" if bot.scope == Scope.PRIVATE else "shared"


def _administration(bot: Bot, people: People, last_used_at: datetime | None) -> Wire:
    sync_status, reason = status.of_bot(bot)
    return {
        "createTime": milliseconds(bot.created_at),
        "lastUsedTime": milliseconds(last_used_at or bot.created_at),
        "sharedScope": bot.scope,
        "sharedStatus": shared_status(bot),
        "allowedCognitoGroups": list(people.groups),
        "allowedCognitoUsers": list(people.users),
        "ownerUserId": bot.owner_id,
        "syncStatus": sync_status,
        "syncStatusReason": reason,
        "syncLastExecId": "",
    }


def _warnings(row: BotContent) -> list[str]:
    """Of a version nothing is told of the index, which is the bot's."""
    has_index = status.has_index(row) if isinstance(row, Bot) else True
    return warnings.of_bot(configuration_of(row), row.instruction, has_index=has_index)


def _content(row: BotContent, guardrails: Guardrails | None = None) -> Wire:
    """What an edit may change, with a mask for each secret."""
    configuration = configuration_of(row)
    base = configuration["bedrock_knowledge_base"]
    return {
        "title": row.title,
        "description": row.description,
        "instruction": row.instruction,
        "generationParams": camelized(configuration["generation_params"] or DEFAULT_GENERATION_PARAMS),
        "agent": {"tools": [_tool(tool) for tool in configuration["tools"]]},
        "knowledge": camelized(configuration["knowledge"]),
        "files": _files(configuration),
        "promptCachingEnabled": configuration["prompt_caching_enabled"],
        "displayRetrievedChunks": configuration["display_retrieved_chunks"],
        "toolRounds": configuration.get("tool_rounds"),
        "toolSeconds": configuration.get("tool_seconds"),
        "conversationQuickStarters": configuration["quick_starters"],
        "bedrockKnowledgeBase": None if base is None else camelized({**base, "data_source_ids": None}),
        "bedrockGuardrails": camelized(guardrails or configuration["bedrock_guardrails"]),
        "activeModels": active_models(configuration),
    }


def _files(configuration: Configuration) -> list[Wire]:
    """The files in the order of the knowledge's `filenames`."""
    entries = files_of(configuration)
    return [
        {
            "filename": name,
            "digest": entries[name]["sha256"],
            "size": entries[name]["size"],
            "contentType": files.media_type(name),
        }
        for name in configuration["knowledge"]["filenames"]
        if name in entries
    ]


def _tool(tool: Tool) -> Wire:
    wire: Wire = camelized(tool)
    if config := wire.get("firecrawlConfig"):
        wire["firecrawlConfig"] = {"apiKey": MASK if config["hasKey"] else "", "maxResults": config["maxResults"]}
    return wire


def camelized(value: Any) -> Any:
    """JSON with the wire's names. No key in a configuration is data."""
    if isinstance(value, list):
        return [camelized(item) for item in value]
    if isinstance(value, dict):
        return {camel(name): camelized(inner) for name, inner in value.items()}
    return value
