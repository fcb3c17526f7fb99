"""Content blocks as clients read them: the stored blocks, with a body or an address in place of each blob."""

from collections.abc import Iterable
from typing import Any, NewType

from conversations.content.blocks import DOCUMENT_TYPES, ResultPart, StoredBlock, described
from conversations.content.files import ShowFile

WireBlock = NewType("WireBlock", dict[str, Any])
"""A stored block with `body`, and perhaps `url`, in place of `blob`."""

WirePart = NewType("WirePart", dict[str, Any])
"""A part of a tool's result: a file's body stands under its kind, `image` or `document`."""


def to_wire(blocks: Iterable[StoredBlock], show: ShowFile) -> list[WireBlock]:
    """The blocks as a client reads them."""
    return [_block_to_wire(block, show) for block in blocks]


def _block_to_wire(block: StoredBlock, show: ShowFile) -> WireBlock:
    if block["contentType"] == "image" or block["contentType"] == "attachment":
        other_members = {key: value for key, value in block.items() if key != "blob"}
        return WireBlock(other_members | show(block["blob"], *described(block)))
    if block["contentType"] == "toolResult":
        parts = [part_to_wire(part, show) for part in block["body"]["content"]]
        return WireBlock({"contentType": "toolResult", "body": {**block["body"], "content": parts}})
    return WireBlock(dict(block))


def part_to_wire(part: ResultPart, show: ShowFile) -> WirePart:
    """A part of a tool's result as a client reads it."""
    if "blob" not in part:
        return WirePart(dict(part))
    kind = part["kind"]
    if kind in ("text", "json"):
        return WirePart(show.long_part(part["blob"], kind))
    form = part["format"]
    name = part.get("name") or kind
    content_type = f"image/{form}" if kind == "image" else DOCUMENT_TYPES[form]
    file_members = show(part["blob"], content_type, name if name.endswith(f".{form}") else f"{name}.{form}")
    other_members = {key: value for key, value in part.items() if key not in ("blob", "kind")}
    return WirePart(other_members | {kind if key == "body" else key: value for key, value in file_members.items()})
