"""Content blocks as they are stored: the wire's blocks, but with `blob`, the SHA-256 of a file, in the file's place.

The `contentType` of a block says which of these shapes it has.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import orjson

from bedrock_chat.wire.renderers import dumps

DOCUMENT_TYPES = {
    "csv": "text/csv",
    "doc": "application/msword",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "html": "text/html",
    "md": "text/markdown",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "xls": "application/vnd.ms-excel",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
"""Converse's formats of documents → their media types."""


class TextBlock(TypedDict):
    contentType: Literal["text"]
    body: str


class ImageBlock(TypedDict):
    contentType: Literal["image"]
    mediaType: str
    blob: str


class AttachmentBlock(TypedDict):
    """A document. The ending of its name gives its format."""

    contentType: Literal["attachment"]
    fileName: str
    blob: str


class ToolUse(TypedDict):
    toolUseId: str
    name: str
    input: dict[str, Any]


class ToolUseBlock(TypedDict):
    contentType: Literal["toolUse"]
    body: ToolUse


class ResultPart(TypedDict, total=False):
    """A part of a tool's result: `text`, or `json`, or a file with `kind`, `format`, `blob` and a document's `name`.

    A long text or object is a file, too, in UTF-8: of the kind `text` or `json`, with its `length` in characters.
    """

    text: str
    json: dict[str, Any]
    kind: Literal["image", "document", "text", "json"]
    format: str
    name: str
    blob: str
    length: int


class ToolResult(TypedDict):
    toolUseId: str
    status: str
    content: list[ResultPart]


class ToolResultBlock(TypedDict):
    contentType: Literal["toolResult"]
    body: ToolResult


class ReasoningBlock(TypedDict):
    """A model's reasoning: `text` with its `signature`, or `redactedContent` in base64. The others are empty."""

    contentType: Literal["reasoning"]
    text: str
    signature: str
    redactedContent: str


StoredBlock = TextBlock | ImageBlock | AttachmentBlock | ToolUseBlock | ToolResultBlock | ReasoningBlock


@dataclass(frozen=True, slots=True)
class Content:
    """The validated content of a message: its blocks, and the files (SHA-256 → bytes) that they name."""

    blocks: list[StoredBlock]
    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Equal content has an equal digest, whatever the order of keys."""
        return hashlib.sha256(orjson.dumps(self.blocks, option=orjson.OPT_SORT_KEYS)).hexdigest()

    @property
    def size(self) -> int:
        """Bytes, files included."""
        return size_of(self.blocks) + sum(map(len, self.files.values()))

    def says_something(self) -> bool:
        """Whether the model would be sent anything: tool blocks in a user's message are stored, but never sent."""
        return has_text(self.blocks) or any(block["contentType"] in ("image", "attachment") for block in self.blocks)


def size_of(blocks: Sequence[StoredBlock]) -> int:
    """Bytes of the blocks as they are stored, without their files."""
    return len(dumps(blocks))


# ---- Text -----------------------------------------------------------------------------------------------------------


def texts(blocks: Iterable[StoredBlock]) -> list[str]:
    """The bodies of the text blocks."""
    return [block["body"] for block in blocks if block["contentType"] == "text"]


def has_text(blocks: Iterable[StoredBlock]) -> bool:
    """Whether any text is not blank."""
    return any(text.strip() for text in texts(blocks))


def text_to_extend(blocks: Iterable[StoredBlock]) -> str:
    """All text of an answer that a continuation extends. The model's new text is appended to the end of this."""
    return "\n\n".join(texts(blocks)).rstrip()


def extend(blocks: list[StoredBlock], continuation: list[StoredBlock]) -> list[StoredBlock]:
    """An answer with its continuation: the new text joins the last text block, in place of trailing white space there.

    The model was sent the text without its trailing white space, so its words go on from there.
    """
    new_text = "".join(texts(continuation))
    if not new_text:
        return blocks
    index = max(i for i, block in enumerate(blocks) if block["contentType"] == "text")
    extended = TextBlock(contentType="text", body=texts(blocks)[-1].rstrip() + new_text)
    tool_uses = [block for block in continuation if block["contentType"] == "toolUse"]
    return [*blocks[:index], extended, *blocks[index + 1 :], *tool_uses]


# ---- Files ----------------------------------------------------------------------------------------------------------


def blob_shas(blocks: Sequence[StoredBlock]) -> Iterator[str]:
    """Every blob that the blocks name."""
    for block in blocks:
        if block["contentType"] == "image" or block["contentType"] == "attachment":
            yield block["blob"]
        elif block["contentType"] == "toolResult":
            for part in block["body"]["content"]:
                yield from part_shas(part)


def part_shas(part: ResultPart) -> Iterator[str]:
    """The blob that a part of a tool's result names, if any."""
    if "blob" in part:
        yield part["blob"]


def document_format(file_name: str) -> str | None:
    """The format of a document by the ending of its name; None if Converse does not know such documents."""
    ending = file_name.rpartition(".")[2].lower() if "." in file_name else ""
    ending = {"htm": "html", "markdown": "md"}.get(ending, ending)
    return ending if ending in DOCUMENT_TYPES else None


def described(block: ImageBlock | AttachmentBlock) -> tuple[str, str]:
    """The media type and the file name of an image or a document."""
    if block["contentType"] == "image":
        return block["mediaType"], f"image.{block['mediaType'].partition('/')[2]}"
    return DOCUMENT_TYPES[document_format(block["fileName"]) or "txt"], block["fileName"]
