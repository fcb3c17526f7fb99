"""What a tool has given, made fit for a model and for a reader: cleaned, bounded, never empty.

A result stands in tool results alone, never in a system text or in a user's.
"""

import base64
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, Final

import orjson
from django.conf import settings

from bedrock_chat.bedrock.tools import FoundDocument
from bots.tools.tool import FilePart, JsonPart, Outcome, Part, Result, TextPart

NO_RESULT: Final = "(no result)"
REDACTED: Final = "[redacted]"
SHORTEST_SECRET: Final = 4
"""Characters. Shorter ones would be found in any text."""
_REMOVED: Final = re.compile(
    "[\0\ud800-\udfff\U000e0000-\U000e007f"  # NUL, lone surrogates, Unicode tags
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # bidi controls
    "\u180e\u200b-\u200d\u2060-\u2064\ufeff]"  # zero-width controls
)


def of(
    parts: Iterable[Part],
    documents: Iterable[FoundDocument] = (),
    *,
    outcome: Outcome = "success",
    secrets: Sequence[str] = (),
) -> Result:
    """A result of these parts. `documents` are as in `Result`; `secrets` are what the server behind was sent.

    Over all parts, more than `TOOL_RESULT_CHARS` lose their middle. A part that is gone takes its document along, and
    the document of one that was cut shows what is left. What documents show of their own is bounded by as many.
    """
    whole = list(parts)
    beside = list(documents)
    own, others = beside[: len(whole)], beside[len(whole) :]
    pairs: list[tuple[Part, FoundDocument | None]] = []
    for index, part in enumerate(whole):
        cleaned = _cleaned_part(part, secrets)
        if not (isinstance(cleaned, TextPart) and not cleaned.text.strip()):
            pairs.append((cleaned, own[index] if index < len(own) else None))
    if not pairs:
        pairs.append((TextPart(NO_RESULT), None))
    pairs = _bounded(pairs, settings.TOOL_RESULT_CHARS)
    return Result(
        "success" if outcome == "success" else "error",
        tuple(part for part, _ in pairs),
        tuple(_documents(pairs, others, secrets, settings.TOOL_RESULT_CHARS)),
        outcome,
    )


def error(name: str, sentence: str, outcome: Outcome = "failed") -> Result:
    """An error of one sentence, with the document that its reader gets. `name` is the tool's."""
    document = FoundDocument("", {"text": sentence}, "", source_name=name)
    return of([TextPart(sentence)], [document], outcome=outcome)


def identified(result: Result, tool_use_id: str, *, cites: bool) -> Result:
    """The result of the call with this id. A lone part's source is the id itself, the n-th of several `id@n`.

    `cites`: the answer shall name its sources, so each text comes to the model with the source's id.
    """
    lone = len(result.parts) == 1
    ids = [
        tool_use_id if lone and not n else f"{tool_use_id}@{n}"
        for n in range(max(len(result.parts), len(result.documents)))
    ]
    documents = [
        replace(document, tool_use_id=tool_use_id, source_id=source_id)
        for document, source_id in zip(result.documents, ids, strict=False)
    ]
    parts = (
        tuple(_cited(part, source_id) for part, source_id in zip(result.parts, ids, strict=False))
        if cites
        else result.parts
    )
    return replace(result, parts=parts, documents=tuple(documents))


def text_of(part: Part) -> str:
    """A part as text; a file has none."""
    match part:
        case TextPart():
            return part.text
        case JsonPart():
            return orjson.dumps(part.value).decode()
        case FilePart():
            return ""


def clean(text: str, secrets: Sequence[str] = ()) -> str:
    """The text without what nobody sees and a model may obey, and without the secrets themselves."""
    cleaned = _REMOVED.sub("", text)
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            cleaned = cleaned.replace(secret, REDACTED)
    return cleaned


def _cleaned_part(part: Part, secrets: Sequence[str]) -> Part:
    match part:
        case TextPart():
            return TextPart(clean(part.text, secrets))
        case JsonPart():
            return JsonPart(_cleaned_json(part.value, secrets))
        case FilePart():
            return replace(part, name=clean(part.name, secrets))


def _cleaned_json(value: Any, secrets: Sequence[str]) -> Any:
    if isinstance(value, str):
        return clean(value, secrets)
    if isinstance(value, list):
        return [_cleaned_json(inner, secrets) for inner in value]
    if isinstance(value, dict):
        return {clean(name, secrets): _cleaned_json(inner, secrets) for name, inner in value.items()}
    return value


def _bounded(pairs: list[tuple[Part, FoundDocument | None]], most: int) -> list[tuple[Part, FoundDocument | None]]:
    """The first three quarters of `most` characters and the last quarter, where there are more, with a note between."""
    texts = [text_of(part) for part, _ in pairs]
    total = sum(map(len, texts))
    if total <= most:
        return pairs
    head = most * 3 // 4
    tail = total - (most - head)
    note = f"({total - most} characters left out)"
    kept: list[tuple[Part, FoundDocument | None]] = []
    is_noted = False
    end = 0
    for (part, document), text in zip(pairs, texts, strict=True):
        start, end = end, end + len(text)
        if end <= head or start >= tail:
            if end > head and not is_noted:  # the cut was exactly between two parts
                kept, is_noted = _with_note(kept, note), True
            kept.append((part, document))
            continue
        first, last = text[: max(0, head - start)], text[max(0, tail - start) :] if end > tail else ""
        middle = [] if is_noted else [note]
        is_noted = True
        pieces = [piece for piece in (first, *middle, last) if piece]
        if first or last:
            kept.append((TextPart("\n".join(pieces)), None if document is None else replace(document, content={})))
        elif middle:
            kept = _with_note(kept, note)
    return kept


def _with_note(kept: list[tuple[Part, FoundDocument | None]], note: str) -> list[tuple[Part, FoundDocument | None]]:
    """The note at the end of the newest text that is kept, else as a text of its own."""
    if kept and not isinstance(kept[-1][0], FilePart):
        part, document = kept[-1]
        return [*kept[:-1], (TextPart(f"{text_of(part)}\n{note}"), document)]
    return [*kept, (TextPart(note), None)]


def _documents(
    pairs: Iterable[tuple[Part, FoundDocument | None]],
    others: Iterable[FoundDocument],
    secrets: Sequence[str],
    most: int,
) -> Iterator[FoundDocument]:
    """The documents of the parts, and the others. Those of their own content that come after `most` characters show
    their parts, and without a part they are left out.
    """
    left = most
    for part, document in pairs:
        if document is not None and document.content:
            left -= _shown_length(document)
        yield _showing(part, document if left >= 0 or document is None else replace(document, content={}), secrets)
    for document in others:
        left -= _shown_length(document)
        if left < 0:
            return
        yield _cleaned_document(document, secrets)


def _shown_length(document: FoundDocument) -> int:
    """Characters of a document's text or object; of a file, none."""
    text, value = document.content.get("text"), document.content.get("json")
    return len(text) if isinstance(text, str) else 0 if value is None else len(orjson.dumps(value).decode())


def _showing(part: Part, document: FoundDocument | None, secrets: Sequence[str]) -> FoundDocument:
    """The document of a part, with a content of its own or, if it has none, the part as its content."""
    if document is not None and document.content:
        return _cleaned_document(document, secrets)
    content: dict[str, Any]
    match part:
        case FilePart():
            content = {part.kind: base64.b64encode(part.body).decode(), "format": part.form}
            content |= {"name": part.name} if part.kind == "document" else {}
        case JsonPart():
            content = {"json": part.value}
        case TextPart():
            content = {"text": part.text}
    return _cleaned_document(replace(document or FoundDocument("", {}, ""), content=content), secrets)


def _cleaned_document(document: FoundDocument, secrets: Sequence[str]) -> FoundDocument:
    name, link = document.source_name, document.source_link
    return replace(
        document,
        content=_cleaned_json(document.content, secrets),
        source_name=None if name is None else clean(name, secrets),
        source_link=None if link is None else clean(link, secrets),
    )


def _cited(part: Part, source_id: str) -> Part:
    match part:
        case TextPart():
            return JsonPart({"source_id": source_id, "content": part.text})
        case JsonPart():
            return JsonPart({"source_id": source_id, "content": part.value})
        case FilePart():
            return part
