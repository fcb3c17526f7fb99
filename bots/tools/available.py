"""The tools that a bot may have, as `available-tools` offers them."""

from typing import Any, Final

AVAILABLE: Final[list[dict[str, Any]]] = [
    {
        "toolType": "internet",
        "name": "internet_search",
        "description": "Search the internet for information.",
        "searchEngine": "duckduckgo",
        "firecrawlConfig": None,
    },
    {
        "toolType": "bedrock_agent",
        "name": "bedrock_agent",
        "description": "Ask a Bedrock agent.",
        "bedrockAgentConfig": {"agentId": "", "aliasId": ""},
    },
]
"""Clients show each with a switch, and send those that are on back with the bot."""
