"""The rounds of a turn as they are stored: what the model said before it had its tools, and what those gave.

A question's row has them as `StoredRound`s while its turn is not closed. Its answer's row has them as a log, the wire's
`thinkingLog`: per round a message of the model with its tool uses, and one of the user with their results.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal, TypedDict

import orjson

from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.blobs import storing
from conversations.content.blocks import (
    ResultPart,
    StoredBlock,
    ToolResult,
    ToolResultBlock,
    ToolUse,
    part_shas,
)

RUNNING: Final = "running"
ERROR: Final = "error"
SUCCESS: Final = "success"
LONG: Final = 16_000
"""Characters of a text, or of an object as JSON, beyond which it is a blob."""


class StoredDocument(TypedDict):
    """A document that a call has found, for the answer's reader."""

    content: ResultPart
    sourceId: str
    sourceName: str | None
    sourceLink: str | None
    pageNumber: int | None


class StoredCall(TypedDict):
    """A tool use's call. `documents` are those of a success."""

    toolUseId: str
    status: str
    content: list[ResultPart]
    documents: list[StoredDocument]
    isReadOnly: bool


class StoredRound(TypedDict):
    """`model` wrote it, and `thinks` says whether it was asked to think. `calls` has one for each tool use, in order.

    `extends` is the key of the answer that the turn extends.
    """

    model: str
    thinks: bool
    extends: int | None
    blocks: list[StoredBlock]
    calls: list[StoredCall]


class LogMessage(TypedDict):
    role: Literal["user", "assistant"]
    content: list[StoredBlock]


Log = list[LogMessage]


# ---- Reading what is stored -----------------------------------------------------------------------------------------


def uses_of(blocks: Iterable[StoredBlock]) -> list[ToolUse]:
    """The tool uses among blocks, in order."""
    return [block["body"] for block in blocks if block["contentType"] == "toolUse"]


def log_of(rounds: Iterable[StoredRound], model: str) -> Log:
    """The log of an answer that `model` has written.

    Reasoning of another model is left out: nothing in an answer says which of its rounds a model wrote.
    """
    log: Log = []
    for stored in rounds:
        own = stored["model"] == model
        blocks = [block for block in stored["blocks"] if own or block["contentType"] != "reasoning"]
        results: list[StoredBlock] = [_result_of(call) for call in stored["calls"]]
        log += [{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    return log


def _result_of(call: StoredCall) -> ToolResultBlock:
    body: ToolResult = {"toolUseId": call["toolUseId"], "content": call["content"], "status": call["status"]}
    return {"contentType": "toolResult", "body": body}


def shas_of(log: Iterable[LogMessage]) -> Iterator[str]:
    """Every blob that a log names."""
    for message in log:
        for block in message["content"]:
            if block["contentType"] == "toolResult":
                for part in block["body"]["content"]:
                    yield from part_shas(part)


def shas_of_rounds(rounds: Iterable[StoredRound]) -> Iterator[str]:
    """Every blob that rounds name."""
    for stored in rounds:
        for call in stored["calls"]:
            yield from shas_of_call(call)


def shas_of_call(call: StoredCall) -> Iterator[str]:
    for part in call["content"]:
        yield from part_shas(part)
    for document in call["documents"]:
        yield from part_shas(document["content"])


def size_of(log: Log | None) -> int:
    """Bytes of a log as it is stored, without its files."""
    return 0 if log is None else len(orjson.dumps(log))


# ---- Parts ----------------------------------------------------------------------------------------------------------


def stored_text(text: str, files: dict[str, bytes]) -> ResultPart:
    """A text as a part. A long one joins `files`."""
    return {"text": text} if len(text) <= LONG else _long("text", text.encode(), len(text), files)


def stored_json(value: Mapping[str, Any], files: dict[str, bytes]) -> ResultPart:
    """An object as a part. A long one joins `files`."""
    body = orjson.dumps(value)
    return {"json": dict(value)} if len(body) <= LONG else _long("json", body, len(body.decode()), files)


def stored_file(kind: Literal["image", "document"], form: str, body: bytes, name: str, files: dict[str, bytes]) -> ResultPart:
    """An image or a document as a part; its body joins `files`."""
    sha256 = storing.digest(body)
    files[sha256] = body
    part: ResultPart = {"kind": kind, "format": form, "blob": sha256}
    return part | {"name": name} if kind == "document" else part  # type: ignore[return-value]  # it is one


def _long(kind: Literal["text", "json"], body: bytes, length: int, files: dict[str, bytes]) -> ResultPart:
    sha256 = storing.digest(body)
    files[sha256] = body
    return {"kind": kind, "blob": sha256, "length": length}


def length_of(part: ResultPart) -> int:
    """How many characters of a request a part takes; of a file, none."""
    if "length" in part:
        return part["length"]
    if "text" in part:
        return len(part["text"])
    return len(orjson.dumps(part["json"]).decode()) if "json" in part else 0


# ---- Documents ------------------------------------------------------------------------------------------------------


def stored_document(document: FoundDocument, content: ResultPart) -> StoredDocument:
    """A document that a call has found; `content` is its stored form."""
    return {
        "content": content,
        "sourceId": document.source_id,
        "sourceName": document.source_name,
        "sourceLink": document.source_link,
        "pageNumber": document.page_number,
    }


def found_document(tool_use_id: str, stored: StoredDocument, content: dict[str, Any]) -> FoundDocument:
    """The event that tells of a stored document; `content` is as clients read it."""
    return FoundDocument(
        tool_use_id,
        content,
        stored["sourceId"],
        stored["sourceName"],
        stored["sourceLink"],
        stored["pageNumber"],
    )
