"""Asks agents of AWS, and what they are for."""

import re
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from bedrock_chat.bedrock import clients
from bedrock_chat.bedrock.agent_calls import CallFault, Empty, Misconfigured, calling
from bedrock_chat.bedrock.retrieval import RetrievedPassage, passage_of
from bedrock_chat.database.text import storable
from bedrock_chat.process.interruption import Interruption

SUBJECT: Final = "Bedrock agent"
MOST_BYTES: Final = 4 * 1024 * 1024
MOST_CITATIONS: Final = 100
MOST_CITED: Final = 200_000
"""Characters of all citations together."""
DESCRIPTION_SECONDS: Final = 600.0
FAILURE_SECONDS: Final = 60.0
"""How long an agent that could not be described is not asked again."""
MOST_DESCRIPTIONS: Final = 1_000

_ID = re.compile(r"[0-9a-zA-Z]{1,10}")
_SESSION = re.compile(r"[0-9a-zA-Z._:-]{2,100}")


class WantsControl(CallFault):
    sentence = "The {subject} asked for an action that this server does not take."


class TooLong(CallFault):
    sentence = "The answer of the {subject} is too long."


class NoAnswer(Empty):
    sentence: ClassVar[str] = "The {subject} answered nothing."


@dataclass(frozen=True, slots=True)
class AgentAnswer:
    """An agent's whole answer, and the passages that it cites."""

    text: str
    citations: tuple[RetrievedPassage, ...]


def invoke(
    agent_id: str, alias_id: str, text: str, *, session_id: str, deadline: float, interruption: Interruption
) -> AgentAnswer:
    """Asks an agent. It remembers what was asked under the same `session_id`: 2 to 100 letters, digits, `._:-`.

    `deadline` is a moment of `time.monotonic`. Raises a `CallFault`, and Interrupted.
    """
    client = clients.agent_runtime()
    with calling(SUBJECT, agent_id[:10], deadline=deadline, interruption=interruption):
        # botocore checks none of them, and they stand in the address.
        if not _ID.fullmatch(agent_id) or not _ID.fullmatch(alias_id) or not _SESSION.fullmatch(session_id):
            raise Misconfigured(SUBJECT)
        response = client.invoke_agent(
            agentId=agent_id, agentAliasId=alias_id, sessionId=session_id, inputText=text, enableTrace=False
        )
        events = response["completion"]
        try:
            return _read(events)
        finally:
            _release(events)


def _read(events: Any) -> AgentAnswer:
    """Joins the bytes of all events before it decodes them: a letter may be cut in two. Of many citations the first
    are kept.
    """
    parts, size = list[bytes](), 0
    citations, cited, files = list[RetrievedPassage](), 0, 0
    for event in events:
        if "returnControl" in event:
            raise WantsControl(SUBJECT)
        if chunk := event.get("chunk"):
            part = chunk.get("bytes") or b""
            size += len(part)
            if size > MOST_BYTES:
                raise TooLong(SUBJECT)
            parts.append(part)
            for citation in (chunk.get("attribution") or {}).get("citations", ()):
                for passage in map(passage_of, citation.get("retrievedReferences", ())):
                    cited += len(passage.text)
                    if len(citations) < MOST_CITATIONS and cited <= MOST_CITED:
                        citations.append(passage)
        files += len((event.get("files") or {}).get("files", ()))
    text = storable(b"".join(parts).decode("utf-8", "replace"))
    if files:
        text += f"\n({files} {'file that is' if files == 1 else 'files that are'} not shown)"
    if not text.strip():
        raise NoAnswer(SUBJECT)
    return AgentAnswer(text, tuple(citations))


def _release(events: Any) -> None:
    """Closes a stream, and gives its connection back now, not when garbage is collected."""
    events.close()
    if release := getattr(getattr(events, "_raw_stream", None), "release_conn", None):
        release()


# ---- Descriptions ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Description:
    """`text` is None where the agent could not be asked. `until` is on the monotonic clock."""

    text: str | None
    until: float


_lock = threading.Lock()
_descriptions: OrderedDict[str, _Description] = OrderedDict()


def describe(agent_id: str, *, otherwise: str, deadline: float, interruption: Interruption) -> str:
    """What an agent is for, in its maker's words, asked once in DESCRIPTION_SECONDS.

    `otherwise` is for an agent that has no description, or cannot be asked. Raises Interrupted alone.
    """
    known = _known(agent_id)
    if known is None:
        try:
            text = _ask(agent_id, deadline, interruption)
            known = _Description(text, time.monotonic() + DESCRIPTION_SECONDS)
        except CallFault:
            known = _Description(None, time.monotonic() + FAILURE_SECONDS)
        with _lock:
            _descriptions[agent_id] = known
            _descriptions.move_to_end(agent_id)
            while len(_descriptions) > MOST_DESCRIPTIONS:
                _descriptions.popitem(last=False)
    return known.text or otherwise


def forget() -> None:
    """Drops what is known of agents."""
    with _lock:
        _descriptions.clear()


def _known(agent_id: str) -> _Description | None:
    with _lock:
        known = _descriptions.get(agent_id)
    return known if known is not None and time.monotonic() < known.until else None


def _ask(agent_id: str, deadline: float, interruption: Interruption) -> str:
    client = clients.agents()
    with calling(SUBJECT, agent_id[:10], deadline=deadline, interruption=interruption):
        if not _ID.fullmatch(agent_id):
            raise Misconfigured(SUBJECT)
        response = client.get_agent(agentId=agent_id)
    description: str = storable(response.get("agent", {}).get("description") or "")
    return description
