"""The rounds of a turn as they are stored: what the model said before it had its tools, and what those gave.

A question's row has them as `StoredRound`s while its turn is not closed. Its answer's row has them as a log, the wire's
`thinkingLog`: per round a message of the model with its tool uses, and one of the user with their results.
"""

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Literal, NotRequired, TypedDict, TypeGuard, cast

import orjson

from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.blobs import storing
from conversations.content.blocks import (
    DOCUMENT_TYPES,
    ResultPart,
    StoredBlock,
    ToolResult,
    ToolResultBlock,
    ToolUse,
    part_shas,
)
from conversations.content.files import read_long_part

ReadFile = Callable[[str], bytes | None]
"""SHA-256 → the file's bytes; None where the file is lost."""

RUNNING: Final = "running"
ERROR: Final = "error"
SUCCESS: Final = "success"
NOT_KNOWN: Final = "It is not known whether this call took effect: the server stopped while it ran."
LAST_CALL: Final = "(No more tool calls in this answer; answer from what is known.)"
"""The last part of the last result, once a turn has used as many tools as it may."""
LONG: Final = 16_000
"""Characters of a text, or of an object as JSON, beyond which it is a blob."""


MOST_COUNTED: Final = 1e12
"""Whoever has counted more was damaged."""


class StoredDocument(TypedDict):
    """A document that a call has found, for the answer's reader. One of an index of our own has its number, no link."""

    content: ResultPart
    sourceId: str
    sourceName: str | None
    sourceLink: str | None
    pageNumber: int | None
    documentNumber: NotRequired[int]


class StoredCall(TypedDict):
    """A tool use's call. `documents` are those of a success."""

    toolUseId: str
    status: str
    content: list[ResultPart]
    documents: list[StoredDocument]
    isReadOnly: bool


class StoredCounts(TypedDict):
    """What a turn had used of its bounds when a round's tools began, this round's calls included.

    `repeated` is the digest of its newest call, which was asked for `repeats` times in a row. `usd` is what its calls
    to models have cost, and `unpricedTokens` are those of calls without a price.
    """

    calls: int
    brokenRounds: int
    repeated: str
    repeats: int
    seconds: float
    usd: float
    unpricedTokens: int


class StoredRound(TypedDict):
    """`model` wrote it, and `thinks` says whether it was asked to think. `calls` has one for each tool use, in order.

    `extends` is the key of the answer that the turn extends. Rounds of earlier versions have no `counts`.
    """

    counts: NotRequired[StoredCounts]

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
        results: list[StoredBlock] = [result_of(call) for call in stored["calls"]]
        log += [{"role": "assistant", "content": blocks}, {"role": "user", "content": results}]
    return log


def result_of(call: StoredCall) -> ToolResultBlock:
    """The block of a call's result. One that is still running is an error until it has ended.

    The status is read first: another thread may put the result there just now, and sets it last.
    """
    status = call["status"]
    body: ToolResult = {"toolUseId": call["toolUseId"], "content": call["content"], "status": status}
    if status == RUNNING:
        body |= {"content": [{"text": NOT_KNOWN}], "status": ERROR}
    return {"contentType": "toolResult", "body": body}


# ---- What may be damaged --------------------------------------------------------------------------------------------


def readable(value: Any) -> list[StoredRound]:
    """The rounds of a question's row that have their shape. Others are left out: rows may be damaged by hand."""
    return [one for one in value if _is_round(one)] if isinstance(value, list) else []


def _is_round(value: Any) -> TypeGuard[StoredRound]:
    return (
        isinstance(value, dict)
        and _is_writable(value)
        and isinstance(value.get("model"), str)
        and isinstance(value.get("thinks"), bool)
        and isinstance(value.get("extends", ""), int | None)
        and _are_blocks(value.get("blocks"))
        and isinstance(value.get("calls"), list)
        and all(map(_is_call, value["calls"]))
    )


def _is_writable(value: Any) -> bool:
    """Whether it can be stored again, and sent: Python reads numbers that no JSON of ours has."""
    try:
        orjson.dumps(value)
    except TypeError:
        return False
    return True


def _is_call(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("toolUseId"), str)
        and value.get("status") in (RUNNING, SUCCESS, ERROR)
        and isinstance(value.get("isReadOnly"), bool)
        and _are_parts(value.get("content"))
        and isinstance(value.get("documents"), list)
        and all(map(_is_document, value["documents"]))
    )


def readable_counts(value: Any) -> StoredCounts | None:
    """The counts of a round; None where they are not there, or damaged."""
    if not isinstance(value, dict) or not isinstance(value.get("repeated"), str):
        return None
    numbers = ("calls", "brokenRounds", "repeats", "seconds", "usd", "unpricedTokens")
    if not all(isinstance(value.get(name), int | float) and 0 <= value[name] < MOST_COUNTED for name in numbers):
        return None
    return cast(StoredCounts, value)


def _is_document(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_part(value.get("content"))
        and isinstance(value.get("sourceId"), str)
        and isinstance(value.get("sourceName", 0), str | None)
        and isinstance(value.get("sourceLink", 0), str | None)
        and isinstance(value.get("pageNumber", ""), int | None)
        and isinstance(value.get("documentNumber", 0), int)
    )


def readable_log(value: Any) -> Log:
    """The messages of an answer's log that have their shape."""
    return [one for one in value if _is_message(one)] if isinstance(value, list) else []


def _is_message(value: Any) -> TypeGuard[LogMessage]:
    return isinstance(value, dict) and value.get("role") in ("user", "assistant") and _are_blocks(value.get("content"))


def _are_blocks(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_block, value))


def _is_block(value: Any) -> bool:
    """Whether this is one of the kinds of blocks that rounds have."""
    if not isinstance(value, dict):
        return False
    body = value.get("body")
    match value.get("contentType"):
        case "text":
            return isinstance(body, str)
        case "reasoning":
            return all(isinstance(value.get(name), str) for name in ("text", "signature", "redactedContent"))
        case "toolUse":
            return _has_texts(body, "toolUseId", "name") and isinstance(body.get("input"), dict)
        case "toolResult":
            return _has_texts(body, "toolUseId", "status") and _are_parts(body.get("content"))
    return False


def _has_texts(value: Any, *names: str) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict) and all(isinstance(value.get(name), str) for name in names)


def _are_parts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_part, value))


def _is_part(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("length", 0), int):
        return False
    if "blob" in value:
        match value.get("kind"):
            case "text" | "json":
                return _has_texts(value, "blob")
            case "image":
                return _has_texts(value, "blob", "format")
            case "document":
                return _has_texts(value, "blob", "name", "format") and value["format"] in DOCUMENT_TYPES
        return False
    return isinstance(value.get("text"), str) if "text" in value else isinstance(value.get("json"), dict)


def without(log: Log, taken_over: Iterable[StoredRound]) -> Log:
    """The log without what is also among these rounds."""
    ids = {call["toolUseId"] for stored in taken_over for call in stored["calls"]}
    kept: Log = []
    for message, results in zip(log[::2], log[1::2], strict=False):
        if ids.isdisjoint(use["toolUseId"] for use in uses_of(message["content"])):
            kept += [message, results]
    return kept


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


def stored_file(
    kind: Literal["image", "document"], form: str, body: bytes, name: str, files: dict[str, bytes]
) -> ResultPart:
    """An image or a document as a part; its body joins `files`."""
    sha256 = storing.digest(body)
    files[sha256] = body
    part: ResultPart = {"kind": kind, "format": form, "blob": sha256}
    return part | {"name": name} if kind == "document" else part


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
    stored: StoredDocument = {
        "content": content,
        "sourceId": document.source_id,
        "sourceName": document.source_name,
        "sourceLink": document.source_link,
        "pageNumber": document.page_number,
    }
    if document.document_number is None:
        return stored
    return {**stored, "sourceLink": None, "documentNumber": document.document_number}


def found_document(tool_use_id: str, stored: StoredDocument, content: dict[str, Any]) -> FoundDocument:
    """The event that tells of a stored document; `content` is as clients read it. An own one still lacks its link."""
    return FoundDocument(
        tool_use_id,
        content,
        stored["sourceId"],
        stored["sourceName"],
        stored["sourceLink"],
        stored["pageNumber"],
        stored.get("documentNumber"),
    )


def documents_of(call: StoredCall, name: str) -> list[StoredDocument]:
    """The documents that are told of a call: those of a success; of an error its parts, under the tool's name."""
    if call["status"] == SUCCESS:
        return call["documents"]
    return documents_of_error(call["toolUseId"], call["content"], name)


def documents_of_error(tool_use_id: str, content: Sequence[ResultPart], name: str) -> list[StoredDocument]:
    """What is told of an error: its parts, under the tool's name."""
    parts = [_text_of_error(part) for part in content if part.get("text") != LAST_CALL]
    ids = [tool_use_id] if len(parts) == 1 else [f"{tool_use_id}@{n}" for n in range(len(parts))]
    return [
        {"content": part, "sourceId": source_id, "sourceName": name, "sourceLink": None, "pageNumber": None}
        for part, source_id in zip(parts, ids, strict=True)
    ]


def _text_of_error(part: ResultPart) -> ResultPart:
    """The text of an error's part, which may stand beside its source's id."""
    content = part["json"].get("content") if "json" in part else None
    return {"text": content} if isinstance(content, str) else part


def read_part(part: ResultPart, read: ReadFile) -> dict[str, Any]:
    """A part with its body: as a tool gave it, and as clients get it."""
    if "blob" not in part:
        return dict(part)
    body = read(part["blob"])
    kind = part["kind"]
    if kind in ("text", "json"):
        return read_long_part(body, kind)
    name = {"name": part.get("name", "")} if kind == "document" else {}
    return {kind: base64.b64encode(body or b"").decode(), "format": part["format"], **name}
