"""Which tools a bot offers to a model and a caller, and which it has and does not: decided without the network."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.tools import ToolSpec
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process.interruption import Interruption
from bots.configuration import Configuration
from bots.tools import agent, kinds, schemas
from bots.tools.kinds import LeftOut
from bots.tools.tool import Tool

if TYPE_CHECKING:
    from bots.chatting import ChattingBot

MOST_TOOLS: Final = 64
MOST_CHARACTERS: Final = 60_000
"""Of all specs together, as JSON."""


@dataclass(frozen=True, slots=True)
class Offered:
    """`tools` are in the order in which the bot has them. Each has an alias of its own."""

    tools: tuple[Tool, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    def named(self, alias: str) -> Tool | None:
        return next((tool for tool in self.tools if tool.alias == alias), None)


NOTHING: Final = Offered()


def offered(bot: "ChattingBot", model: Model, caller: Caller) -> Offered:
    """What the bot offers to this model when this caller asks. A model that takes no tools gets none."""
    return to_model(bot.configuration, model)


def to_model(configuration: Configuration, model: Model) -> Offered:
    if model.tools is False:
        # Its knowledge is left out for no model: it goes into the prompt (`prompting`).
        reason = f"cannot be used by {model.display_name}"
        return Offered(left_out=tuple(LeftOut(tool["name"], reason) for tool in configuration["tools"]))
    return to_any(configuration)


def to_any(configuration: Configuration) -> Offered:
    """What the bot offers to every model that takes tools."""
    return within_bounds(kinds.of_bot(configuration))


def are_looked_up(offered: Offered) -> bool:
    """Whether `specs` may ask somebody what any of the tools is for."""
    return any(tool.kind == agent.KIND for tool in offered.tools)


def specs(offered: Offered, interruption: Interruption) -> list[ToolSpec]:
    """The tools as a model reads of them. This asks agents of AWS what they are for, so hold no pooled connection."""
    until = time.monotonic() + agent.DESCRIPTION_SECONDS
    return [
        agent.described(tool, interruption, until) if tool.kind == agent.KIND else tool.spec for tool in offered.tools
    ]


def within_bounds(candidates: Iterable[Tool | LeftOut]) -> Offered:
    """The tools that one request can have, first come, first served."""
    tools: list[Tool] = []
    left_out: list[LeftOut] = []
    characters = 0
    for candidate in candidates:
        if isinstance(candidate, LeftOut):
            left_out.append(candidate)
            continue
        size = len(orjson.dumps([candidate.alias, candidate.description, candidate.schema]).decode())
        if (why := schemas.why_refused(candidate.schema)) is not None:
            left_out.append(LeftOut(candidate.alias, why))
        elif len(tools) == MOST_TOOLS:
            left_out.append(LeftOut(candidate.alias, f"is one more than {MOST_TOOLS}"))
        elif characters + size > MOST_CHARACTERS:
            left_out.append(
                LeftOut(candidate.alias, f"would make all descriptions more than {MOST_CHARACTERS:,} characters")
            )
        else:
            tools.append(candidate)
            characters += size
    return Offered(tuple(tools), tuple(left_out))
