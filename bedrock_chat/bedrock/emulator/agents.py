"""Knowledge bases and agents of the account: what is found in the ones, and what the others answer.

There is every one of them, and the first letters of its id say how it fares (FATES). What a base holds and what agents
answer, and which calls go wrong besides, `/control/agents` says.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote

from bedrock_chat.bedrock.emulator import framing, replies, shapes
from bedrock_chat.bedrock.emulator.refusals import Refusal, in_camel, invalid
from bedrock_chat.bedrock.emulator.replies import Reply, Step
from bedrock_chat.bedrock.emulator.script import FOR_EVER

PATHS: Final = ("/knowledgebases/", "/agents/")
RUNTIME: Final = "bedrock-agent-runtime"
PIECE_BYTES: Final = 7
"""Of an agent's answer in one event. Letters of several bytes are cut in two."""
SLOW_SECONDS: Final = 2.0
PASSAGES: Final = 5
"""That a base finds, where nothing else is said, and the request does not ask for fewer."""
FATES: Final = ("GONE", "EMPTY", "THROTTLED", "DENIED", "SEMANTIC", "SLOW", "HANG", "CUT", "RETURN", "FAULT")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """A request to one of the operations. `identifier` is that of a knowledge base or of an agent."""

    operation: str
    identifier: str
    body: Json
    alias: str = ""
    session: str = ""


@dataclass(slots=True)
class Content:
    """What the tests said that bases hold and agents answer."""

    passages: list[Json] | None = None
    text: str | None = None
    citations: list[Json] = field(default_factory=list)
    description: str | None = None

    def control(self, document: Mapping[str, Any]) -> None:
        """Takes `passages`, `text`, `citations` and `description`; what is left out is as at the beginning."""
        self.passages = document.get("passages")
        self.text = document.get("text")
        self.citations = list(document.get("citations", ()))
        self.description = document.get("description")


def call_of(method: str, path: str, body: Json) -> Call | None:
    """The operation that a request is for, or None if it is none of these. `path` is percent-encoded."""
    parts = [unquote(part) for part in path.partition("?")[0].split("/")[1:]]
    match method, parts:
        case "POST", ["knowledgebases", identifier, "retrieve"]:
            return Call("Retrieve", identifier, body)
        case "POST", ["agents", identifier, "agentAliases", alias, "sessions", session, "text"]:
            return Call("InvokeAgent", identifier, body, alias, session)
        case "GET", ["agents", identifier, ""] | ["agents", identifier]:
            return Call("GetAgent", identifier, body)
    return None


def answer(call: Call, content: Content) -> Reply:
    """The reply to a call. Raises Refusal."""
    fate = next((fate for fate in FATES if call.identifier.upper().startswith(fate)), "")
    match call.operation:
        case "Retrieve":
            _in_pattern("KnowledgeBaseIdentifier", call.identifier, "[0-9a-zA-Z]{10}")
            shapes.check("Retrieve", call.body, RUNTIME)
        case "InvokeAgent":
            _in_pattern("AgentId", call.identifier)
            _in_pattern("AgentAliasId", call.alias)
            _in_pattern("SessionId", call.session, "[0-9a-zA-Z._:-]{2,100}")
            shapes.check("InvokeAgent", call.body, RUNTIME)
        case "GetAgent":
            _in_pattern("Id", call.identifier)
    wait = {"SLOW": SLOW_SECONDS, "HANG": FOR_EVER}.get(fate, 0.0)
    match fate:
        case "GONE":
            kind = "Knowledge base" if call.operation == "Retrieve" else "Agent"
            raise Refusal("ResourceNotFoundException", f"{kind} with id {call.identifier} does not exist")
        case "THROTTLED":
            raise Refusal("ThrottlingException", "Your request rate is too high. Reduce the frequency of requests.")
        case "DENIED":
            raise Refusal("AccessDeniedException", "User is not authorized to perform this action on the resource.")
    match call.operation:
        case "Retrieve":
            passages = [] if fate == "EMPTY" else _passages(call, content, refuses_hybrid=fate == "SEMANTIC")
            return replies.as_json({"retrievalResults": passages}, wait=wait)
        case "GetAgent":
            return replies.as_json({"agent": _agent(call.identifier, content)}, wait=wait)
        case _:
            return _stream(call, content, fate, wait)


def _in_pattern(name: str, value: str, pattern: str = "[0-9a-zA-Z]{10}") -> None:
    if not re.fullmatch(pattern, value):
        raise invalid(
            f"1 validation error detected: Value '{value[:60]}' at '{name[:1].lower()}{name[1:]}' failed to satisfy "
            f"constraint: Member must satisfy regular expression pattern: {pattern}"
        )


# ---- Knowledge bases ------------------------------------------------------------------------------------------------


def _passages(call: Call, content: Content, *, refuses_hybrid: bool) -> list[Json]:
    """Raises Refusal for a search by words as well as by meaning, where the base's store has no such one."""
    text = (call.body["retrievalQuery"].get("text") or "").strip()
    if not text:
        raise invalid("The retrievalQuery.text field is blank.")
    vector_search = (call.body.get("retrievalConfiguration") or {}).get("vectorSearchConfiguration") or {}
    if refuses_hybrid and vector_search.get("overrideSearchType") == "HYBRID":
        raise invalid(
            "HYBRID search type is not supported for search operation on index. Retry your request with a different "
            "search type."
        )
    most = vector_search.get("numberOfResults") or PASSAGES
    if content.passages is not None:
        return content.passages[:most]
    return [
        {
            "content": {"type": "TEXT", "text": f"Passage {number} about: {text[:60]}"},
            "location": {"type": "S3", "s3Location": {"uri": f"s3://documents/handbook-{number}.pdf"}},
            "metadata": {"x-amz-bedrock-kb-document-page-number": float(number)},
            "score": round(0.9 / number, 3),
        }
        for number in range(1, min(most, PASSAGES) + 1)
    ]


# ---- Agents ---------------------------------------------------------------------------------------------------------


def _agent(identifier: str, content: Content) -> Json:
    agent: Json = {
        "agentId": identifier,
        "agentName": f"agent-{identifier}",
        "agentArn": f"arn:aws:bedrock:us-east-1:123456789012:agent/{identifier}",
        "agentVersion": "DRAFT",
        "agentStatus": "PREPARED",
        "idleSessionTTLInSeconds": 600,
        "agentResourceRoleArn": "arn:aws:iam::123456789012:role/agent",
        "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z",
    }
    description = f"What agent {identifier} is for." if content.description is None else content.description
    return agent | ({"description": description} if description else {})


def _stream(call: Call, content: Content, fate: str, wait: float) -> Reply:
    """The event stream of an agent's answer. What goes wrong in its midst does so behind half of the answer."""
    question = call.body.get("inputText") or ""
    text = f"Agent answer to: {question[:60]} — ✓ done." if content.text is None else content.text
    encoded = b"" if fate == "EMPTY" else text.encode()
    pieces = [encoded[start : start + PIECE_BYTES] for start in range(0, len(encoded), PIECE_BYTES)]
    half = len(pieces) // 2
    steps: list[Step] = [(0.0, replies.stream_head(f"x-amz-bedrock-agent-session-id: {call.session}\r\n"))]
    if call.body.get("enableTrace"):
        steps.append((0.0, framing.chunk(framing.event("trace", {"agentId": call.identifier, "trace": {}}))))
    if fate == "RETURN":
        asks = {"functionInvocationInput": {"actionGroup": "orders", "function": "cancel", "parameters": []}}
        control = {"invocationId": "00000000-0000-0000-0000-000000000000", "invocationInputs": [asks]}
        steps += [(0.0, framing.chunk(framing.event("returnControl", control))), (0.0, framing.LAST_CHUNK)]
        return Reply(tuple(steps), 200)
    for number, piece in enumerate(pieces):
        if number == half and fate in ("FAULT", "CUT"):
            if fate == "CUT":
                return Reply(tuple(steps), 200, keep=False)
            fault = Refusal("DependencyFailedException", "The agent's model failed.")
            steps += [(0.0, framing.chunk(framing.exception(in_camel(fault.code), fault.message)))]
            return Reply((*steps, (0.0, framing.LAST_CHUNK)), 200)
        payload: Json = {"bytes": base64.b64encode(piece).decode()}
        if number == len(pieces) - 1 and content.citations:
            payload["attribution"] = {"citations": content.citations}
        # A slow or hanging agent is so in the midst of its answer: its stream has begun.
        steps.append((wait if number == half else 0.0, framing.chunk(framing.event("chunk", payload))))
    return Reply((*steps, (0.0, framing.LAST_CHUNK)), 200)
