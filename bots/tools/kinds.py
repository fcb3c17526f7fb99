"""The tools that a bot's configuration asks for, kind by kind."""

from collections.abc import Iterator
from dataclasses import dataclass

from bots.configuration import Configuration
from bots.tools.tool import Tool


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A tool that a bot has and does not offer. `reason` is a sentence without its subject: `has no key`."""

    name: str
    reason: str


def of_bot(configuration: Configuration) -> Iterator[Tool | LeftOut]:
    """Every tool of a bot: those that it can offer, and those that it cannot."""
    for tool in configuration["tools"]:
        yield LeftOut(tool["name"], "is not known here")
