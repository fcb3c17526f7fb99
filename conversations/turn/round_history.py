"""The rounds of turns as messages to a model, from whatever is stored of them. Pure.

What is stored may have been cut by a kill at any point, or damaged by hand. All the same no tool use goes to a model
without its result, no result without its use, no id twice, no empty result and no blank text: Bedrock refuses each of
them, and would refuse the conversation for ever.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from bedrock_chat.bedrock import attachments
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.shapes import ConverseBlock, ConverseMessage
from bots.tools.results import NO_RESULT
from conversations.content import parsing, rounds
from conversations.content.converse import reasoning_to_converse
from conversations.content.files import read_long_part
from conversations.content.rounds import ReadFile

_ID: Final = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_IMAGES: Final = frozenset({"gif", "jpeg", "png", "webp"})


@dataclass(frozen=True, slots=True)
class Exchange:
    """A round: what the model said, and the results by the ids of their tool uses. Either may be anything."""

    blocks: Any
    results: Mapping[Any, Any]
    has_reasoning: bool


@dataclass(slots=True)
class Reader:
    """For whom messages are made. `seen` are the ids of tool uses that the request has already."""

    model: Model
    read: ReadFile
    seen: set[str] = field(default_factory=set)
    documents: int = 0

    @property
    def sends_status(self) -> bool:
        """Claude alone is known to take it; to others the text says that something went wrong."""
        return is_claude(self.model)


def is_claude(model: Model) -> bool:
    return model.key.startswith("claude")


def is_legal_id(tool_use_id: object) -> bool:
    """Whether Converse takes it as the id of a tool use."""
    return isinstance(tool_use_id, str) and _ID.fullmatch(tool_use_id) is not None


# ---- From what is stored --------------------------------------------------------------------------------------------


def of_rounds(stored: Any, model: Model) -> list[Exchange]:
    """The exchanges of a question's rounds. Reasoning goes back to the model that has written it alone."""
    exchanges = []
    for one in _dicts(stored):
        results = _by_id(_dicts(one.get("calls")))
        exchanges.append(Exchange(one.get("blocks"), results, one.get("model") == model.key))
    return exchanges


def of_log(log: Any, *, has_reasoning: bool) -> list[Exchange]:
    """The exchanges of an answer's log."""
    exchanges = []
    messages = _dicts(log)
    for index, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        after = messages[index + 1] if index + 1 < len(messages) else {}
        bodies = [block.get("body") for block in _dicts(after.get("content"))] if after.get("role") == "user" else []
        results = _by_id(_dicts(bodies))
        exchanges.append(Exchange(message.get("content"), results, has_reasoning))
    return exchanges


def _by_id(results: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {use: result for result in results if isinstance(use := result.get("toolUseId"), str)}


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a list; none of what is no list."""
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


# ---- To messages ----------------------------------------------------------------------------------------------------


def messages(exchanges: Iterable[Exchange], reader: Reader, most: int | None = None) -> list[ConverseMessage]:
    """Two messages for each exchange that has a tool use. With `most`, the oldest results beyond so many characters
    are told as left out.
    """
    listed = list(exchanges)
    left_out = _oldest(listed, most)
    made: list[ConverseMessage] = []
    for index, exchange in enumerate(listed):
        answer, uses = _said(exchange, reader)
        if not uses:
            continue
        results: list[ConverseBlock] = []
        for use in uses:
            result = exchange.results.get(use)
            results.append(
                _result(use, result if isinstance(result, dict) else {}, reader, is_cut=(index, use) in left_out)
            )
        made += [{"role": "assistant", "content": answer}, {"role": "user", "content": results}]
    return made


def _said(exchange: Exchange, reader: Reader) -> tuple[list[ConverseBlock], list[str]]:
    """What the model said as it goes back, and the ids of its tool uses, in order."""
    blocks: list[ConverseBlock] = []
    uses: list[str] = []
    for block in _dicts(exchange.blocks):
        body = block.get("body")
        match block.get("contentType"):
            case "text" if isinstance(body, str) and body.strip():
                blocks.append({"text": body})
            case "toolUse" if isinstance(body, dict) and (use := _use(body)) and use["toolUseId"] not in reader.seen:
                reader.seen.add(use["toolUseId"])
                uses.append(use["toolUseId"])
                blocks.append({"toolUse": use})
            case "reasoning" if exchange.has_reasoning and (reasoning := reasoning_to_converse(block)):
                blocks.append(reasoning)
    return blocks, uses


def _use(body: Mapping[str, Any]) -> dict[str, Any] | None:
    """A tool use, if Converse would take it."""
    tool_use_id, name, value = body.get("toolUseId"), body.get("name"), body.get("input")
    if not is_legal_id(tool_use_id) or not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    return {"toolUseId": tool_use_id, "name": name, "input": value if isinstance(value, dict) else {}}


def _result(tool_use_id: str, stored: Mapping[str, Any], reader: Reader, *, is_cut: bool) -> ConverseBlock:
    """The result of a tool use. Without one, it is not known what became of the call."""
    status, parts = stored.get("status"), _dicts(stored.get("content"))
    if status not in (rounds.SUCCESS, rounds.ERROR):
        status, parts = rounds.ERROR, [{"text": rounds.NOT_KNOWN}]
    content = [{"text": note_of(sum(map(_length, parts)))}] if is_cut else list(_parts(parts, reader))
    content = content or [{"text": NO_RESULT}]
    result: dict[str, Any] = {"toolUseId": tool_use_id, "content": content}
    if reader.sends_status:
        result["status"] = status
    elif status == rounds.ERROR:
        result["content"] = _marked(content)
    return {"toolResult": result}


def _parts(parts: Iterable[Mapping[str, Any]], reader: Reader) -> Iterator[dict[str, Any]]:
    """The parts that Converse takes."""
    for part in parts:
        kind, sha256 = part.get("kind"), part.get("blob")
        if isinstance(sha256, str):
            if kind in ("text", "json"):
                yield from _parts([read_long_part(reader.read(sha256), str(kind))], reader)
            elif kind in ("image", "document"):
                yield _file(str(kind), str(part.get("format")), sha256, reader)
        elif isinstance(text := part.get("text"), str) and text.strip():
            yield {"text": text}
        elif isinstance(value := part.get("json"), dict):
            yield {"json": value}


def _file(kind: str, form: str, sha256: str, reader: Reader) -> dict[str, Any]:
    """A file that the model can see, or a sentence in its place: one that is too large would fail the whole request."""
    model = reader.model
    if kind == "image":
        if model.images is False or form not in _IMAGES:
            return {"text": f"(1 image/{form} that this model cannot see)"}
        most = parsing.MAX_IMAGE_BYTES
    elif model.documents is False or form not in parsing.DOCUMENT_FORMATS:
        return {"text": f"(1 document of the format {form} that this model cannot read)"}
    else:
        most = attachments.most_document_bytes(model, form)
    body = reader.read(sha256)
    if not body:
        return {"text": f"(1 {kind} that has been lost)"}
    if len(body) > most:
        return {"text": f"(1 {kind} that is too large for this model)"}
    if kind == "image":
        return {"image": {"format": form, "source": {"bytes": body}}}
    reader.documents += 1
    return {"document": {"format": form, "name": f"result {reader.documents}", "source": {"bytes": body}}}


def _marked(content: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of an error, for a model that reads no status."""
    first, *others = content
    if "text" in first:
        return [{"text": f"Error: {first['text']}"}, *others]
    if isinstance(first.get("json"), dict) and isinstance(text := first["json"].get("content"), str):
        return [{"json": {**first["json"], "content": f"Error: {text}"}}, *others]
    return [{"text": "Error:"}, *content]


# ---- How much -------------------------------------------------------------------------------------------------------


def note_of(characters: int) -> str:
    return f"({characters} characters left out)"


def _length(part: Mapping[str, Any]) -> int:
    """How many characters a part takes; of a file, none."""
    if isinstance(length := part.get("length"), int):
        return length
    if isinstance(text := part.get("text"), str):
        return len(text)
    return _length_of_json(part["json"]) if isinstance(part.get("json"), dict) else 0


def _length_of_json(value: Any) -> int:
    try:
        return len(orjson.dumps(value, default=str))
    except TypeError:  # a number beyond 64 bits
        return len(json.dumps(value, default=str))


def length_of(exchange: Exchange) -> int:
    """How many characters an exchange takes."""
    length = _length_of_json(exchange.blocks)
    return length + sum(_length(part) for call in exchange.results.values() for part in _dicts(call.get("content")))


def _oldest(exchanges: Sequence[Exchange], most: int | None) -> set[tuple[int, str]]:
    """The calls whose results are left out: the oldest ones, until what is left fits. The newest round's stay."""
    left_out: set[tuple[int, str]] = set()
    if most is None:
        return left_out
    sizes = [
        ((index, use), sum(map(_length, _dicts(call.get("content")))))
        for index, exchange in enumerate(exchanges)
        for use, call in exchange.results.items()
        if isinstance(call, dict)
    ]
    total = sum(size for _, size in sizes)
    for place, size in sizes:
        if total <= most or place[0] == len(exchanges) - 1:
            break
        left_out.add(place)
        total -= size
    return left_out


def newest(histories: Sequence[list[Exchange]], most: int) -> list[list[Exchange]]:
    """Of earlier answers' exchanges, oldest answer first, the newest within `most` characters.

    They are added up from the beginning, and each time that there are too many the oldest go, until three quarters are
    left. So what is left out changes now and then, and not with every turn: prompts stay cacheable.
    """
    begins_at, total = 0, 0
    flat = [exchange for history in histories for exchange in history]
    sizes = [length_of(exchange) for exchange in flat]
    for index, size in enumerate(sizes):
        total += size
        if total > most:
            while begins_at <= index and total > most * 3 // 4:
                total -= sizes[begins_at]
                begins_at += 1
    kept: list[list[Exchange]] = []
    index = 0
    for history in histories:
        kept.append([exchange for place, exchange in enumerate(history, index) if place >= begins_at])
        index += len(history)
    return kept
