"""The tools that a bot's configuration asks for, kind by kind."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bots import configuration as configurations
from bots.configuration import Configuration
from bots.tools import agent, internet, knowledge_base, names
from bots.tools.tool import Tool

UNKNOWN: Final = "is not known here"
NO_KEY: Final = "has no key: send it again"


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tool that a bot has and does not offer. `reason` is a sentence without its subject and its full stop."""

    name: str
    reason: str

    @property
    def sentence(self) -> str:
        return f"The tool {self.name} {self.reason}."


def of_bot(configuration: Configuration) -> Iterator[Tool | LeftOut]:
    """Every tool of a bot: those that it can offer, and those that it cannot."""
    taken: set[str] = set()
    for tool in configuration["tools"]:
        made = _of(tool, names.alias_of(tool["name"], taken))
        if isinstance(made, Tool):
            taken.add(made.alias)
        yield made
    # A grounded bot has its passages in the prompt, since a guardrail holds no answer against the results of tools.
    if configurations.has_knowledge(configuration) and not configurations.is_grounded(configuration):
        yield knowledge_base.tool_of(configuration, names.alias_of(knowledge_base.NAME, taken))


def _of(tool: configurations.Tool, alias: str) -> Tool | LeftOut:
    if internet.is_one(tool):
        config = tool.get("firecrawl_config")
        if tool.get("search_engine") == "firecrawl" and config is not None and not config["has_key"]:
            return LeftOut(tool["name"], NO_KEY)
        return internet.tool_of(tool, alias)
    return agent.tool_of(tool, alias) if agent.is_one(tool) else LeftOut(tool["name"], UNKNOWN)
