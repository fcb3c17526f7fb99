"""Calls of tools without a turn around them."""

import time
from collections.abc import Mapping
from typing import Any, cast

from bedrock_chat.identity.caller import Caller
from bedrock_chat.process.interruption import Interruption
from bots import chatting, content
from bots.configuration import Configuration, Tool
from bots.content import Content
from bots.tools.tool import Context

ALICE = Caller(user_id="alice")
DUCKDUCKGO: Tool = {
    "tool_type": "internet",
    "name": "internet_search",
    "description": "",
    "search_engine": "duckduckgo",
    "firecrawl_config": None,
}
AGENT: Tool = {
    "tool_type": "bedrock_agent",
    "name": "bedrock_agent",
    "description": "Asks.",
    "bedrock_agent_config": {"agent_id": "A1", "alias_id": "AL1"},
}


def firecrawl(most: int = 10, *, name: str = "internet_search", has_key: bool = True) -> Tool:
    config = {"max_results": most, "has_key": has_key}
    return cast(Tool, {**DUCKDUCKGO, "name": name, "search_engine": "firecrawl", "firecrawl_config": config})


def configuration(*tools: Tool, **parts: Any) -> Configuration:
    return cast(Configuration, {**Content().configuration, "tools": list(tools), **parts})


def knowing(base_id: str, **params: Any) -> Configuration:
    """A bot whose knowledge is a base that exists."""
    searched = {"max_results": 20, "search_type": "hybrid", **params}
    return configuration(bedrock_knowledge_base={"exist_knowledge_base_id": base_id, "search_params": searched})


def bot(configured: Configuration, secrets: Mapping[str, str] | None = None) -> chatting.ChattingBot:
    """As somebody chats with it. Secrets need a database: their key is there."""
    from bots.models import Bot

    row = Bot(pk="b", owner_id="alice", title="T")
    content.write(Content("T", "", "I", configured, secrets or {}), row)
    return chatting.ChattingBot("b", "alice", "T", "", "I", configured, "SUCCEEDED", None, True, row.encrypted_secrets)


def context(
    of: chatting.ChattingBot,
    seconds: float = 20.0,
    *,
    conversation: str = "c",
    caller: Caller = ALICE,
) -> Context:
    return Context(time.monotonic() + seconds, Interruption(), caller, of, conversation)
