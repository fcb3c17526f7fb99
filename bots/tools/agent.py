"""`bedrock_agent`: an agent that somebody has made in Bedrock, asked in one call."""

import hashlib
import time
from collections.abc import Mapping
from typing import Any, Final

from bedrock_chat.bedrock import agents
from bedrock_chat.bedrock.agents import AgentAnswer
from bedrock_chat.bedrock.tools import FoundDocument, ToolSpec
from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.wire.ids import new_id
from bots import configuration as configurations
from bots.tools import results, running, servers
from bots.tools.faults import translated
from bots.tools.tool import Context, Result, TextPart, Tool, ToolFault

NAME: Final = "bedrock_agent"
KIND: Final = "bedrock_agent"
SERVER: Final = "agent "
"""What the name of each agent begins with, as a server that bounds count by."""
DESCRIPTION_SECONDS: Final = 3.0
"""For all agents of a bot together: its turn waits for them before its model is asked."""
LONGEST_DESCRIPTION: Final = 4000
LONGEST_QUERY: Final = 25_000
USUAL_DESCRIPTION: Final = "Ask a Bedrock agent."
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"query": {"type": "string", "description": "Query to send to the agent"}},
    "required": ["query"],
}
NO_AGENT: Final = "Bot does not have a Bedrock Agent configured. Query was: "


def tool_of(tool: configurations.Tool, alias: str) -> Tool:
    """The tool of a bot. One that names no agent is offered, too: its calls say so, as recorded."""
    config = tool.get("bedrock_agent_config") or {"agent_id": "", "alias_id": ""}
    agent_id, alias_id = config["agent_id"].strip(), config["alias_id"].strip()

    def run(value: Mapping[str, Any], context: Context) -> Result:
        return _ask(agent_id, alias_id, value["query"], context)

    return Tool(
        alias=alias,
        description=tool["description"].strip() or USUAL_DESCRIPTION,
        schema=SCHEMA,
        kind=KIND,
        is_read_only=False,
        server=f"{SERVER}{agent_id}" if agent_id else NAME,
        seconds=None,
        run=running.guarded(alias, run),
    )


def agent_id_of(tool: configurations.Tool) -> str:
    """The agent that a tool names, or nothing."""
    config = tool.get("bedrock_agent_config")
    return config["agent_id"].strip() if config is not None and config["alias_id"].strip() else ""


def described(tool: Tool, interruption: Interruption, deadline: float) -> ToolSpec:
    """The tool with what its agent says of itself, which AWS is asked for now and then; else with what its bot says.

    `deadline` is a moment of `time.monotonic()`, after which nobody is asked.
    """
    if tool.server == NAME or time.monotonic() >= deadline:
        return tool.spec
    agent_id = tool.server.removeprefix(SERVER)
    try:
        own = agents.describe(agent_id, otherwise=tool.description, deadline=deadline, interruption=interruption)
    except Interrupted:  # whoever asks the model next is told so
        return tool.spec
    except Exception as error:  # noqa: BLE001  it is logged, and no reason not to answer
        running.failed(tool.alias, error)
        return tool.spec
    return ToolSpec(tool.alias, own[:LONGEST_DESCRIPTION], tool.schema)


def is_one(tool: configurations.Tool) -> bool:
    """Whether a bot's tool is of this kind: its type says so or, for a plain one, its name."""
    return tool["tool_type"] == "bedrock_agent" or (tool["tool_type"] == "plain" and tool["name"] == NAME)


def lacks_one(tool: configurations.Tool) -> bool:
    return is_one(tool) and not agent_id_of(tool)


def session_of(context: Context) -> str:
    """The agent's memory of earlier calls: one for each conversation with each bot, and nobody else's.

    Ids of conversations are chosen by clients, so two callers may have the same one. Where nothing is stored, each
    call has a session of its own.
    """
    if not context.conversation_external_id:
        return new_id()
    parts = (context.caller.account, context.bot.id, context.conversation_external_id)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _ask(agent_id: str, alias_id: str, query: str, context: Context) -> Result:
    if not (agent_id and alias_id):
        raise ToolFault(f"{NO_AGENT}{query[:LONGEST_QUERY]}", "settings")
    words = results.clean(query).strip()[:LONGEST_QUERY]
    if not words:
        raise ToolFault("The query is empty.", "input")
    with servers.place(f"{SERVER}{agent_id}", context), translated():
        answer = agents.invoke(
            agent_id,
            alias_id,
            words,
            session_id=session_of(context),
            deadline=context.deadline,
            interruption=context.interruption,
        )
    return _result(agent_id, answer)


def _result(agent_id: str, answer: AgentAnswer) -> Result:
    """One part, the agent's answer. What it cites is for the reader."""
    own = FoundDocument("", {}, "", source_name=f"Agent Final Result({agent_id})", source_link="")
    citations = [
        FoundDocument(
            "",
            {"text": cited.text},
            "",
            source_name=cited.source_name,
            source_link=cited.source_link,
            page_number=cited.page_number,
        )
        for cited in answer.citations
        if cited.text
    ]
    return results.of([TextPart(answer.text)], [own, *citations])
