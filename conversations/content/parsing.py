"""Validates the content blocks that a user sends.

Numbers are checked before a list is walked, and sizes before base64 is decoded: a refusal costs next to nothing.
Limits of images are those of the Converse API's `Message` shape, limits of documents the largest that any model has.
What the model that is asked takes of them is judged when the turn opens (`turn.file_limits`).
"""

import base64
import binascii
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rest_framework.exceptions import ValidationError

from bedrock_chat.bedrock import attachments, catalog, images
from bedrock_chat.blobs import storing
from bedrock_chat.wire.renderers import dumps
from conversations.content.blocks import (
    DOCUMENT_TYPES,
    Content,
    ResultPart,
    StoredBlock,
    ToolResult,
    ToolUse,
    document_format,
    texts,
)

MAX_BLOCKS = 64
"""Blocks of a message, and parts of a tool's result."""
MAX_TEXT_BYTES = 8 * 1024 * 1024
"""Bytes of a message's text blocks together, as UTF-8: more than any model's context window takes in."""
MAX_TOOL_BYTES = 1024 * 1024
"""Bytes of a message's tool blocks together, as JSON, without the files of results. No model is sent them."""
MAX_IMAGES = 20
MAX_IMAGE_BYTES = 3_932_160  # 3.75 MB
MAX_IMAGE_SIDE = attachments.LONGEST_SIDE
MAX_DOCUMENTS = 5
IMAGE_FORMATS = images.FORMATS
DOCUMENT_FORMATS = tuple(DOCUMENT_TYPES)
MAX_DOCUMENT_BYTES = {
    form: max(attachments.most_document_bytes(model, form) for model in catalog.MODELS.values())
    for form in DOCUMENT_FORMATS
}
"""Format → the largest such document that any model takes."""
LONGEST_MEDIA_TYPE = 64
TOOL_STATUSES = ("error", "success")

JsonObject = Mapping[str, Any]
"""A JSON object as a client sent it, with snake_case keys."""


class Refused(ValidationError):
    """A content block that the API does not accept. `field` is relative to the block."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__({field: [message]} if field else [message])


def parse(blocks: Any) -> Content:
    """Validates a user's content list (snake_case keys). Raises DRF's ValidationError with the path of each fault."""
    if not isinstance(blocks, list):
        raise ValidationError(["Expected a list of content blocks."])
    if len(blocks) > MAX_BLOCKS:
        raise ValidationError([f"A message holds at most {MAX_BLOCKS} content blocks."])
    files: dict[str, bytes] = {}
    stored: list[StoredBlock] = []
    errors: dict[str, Any] = {}
    for index, block in enumerate(blocks):
        try:
            stored.append(_parse_block(block, files))
        except ValidationError as error:
            errors[str(index)] = error.detail
    if errors:
        raise ValidationError(errors)
    _refuse_excess(stored)
    return Content(stored, files)


def _refuse_excess(blocks: Sequence[StoredBlock]) -> None:
    """Raises ValidationError for more than one message may hold. Files of tools' results count like the others."""
    if any(block["contentType"] != "text" for block in blocks):
        _refuse_excess_beside_text(blocks)
    if sum(len(text.encode()) for text in texts(blocks)) > MAX_TEXT_BYTES:
        raise ValidationError(["The text of a message holds at most 8 MB."])


def _refuse_excess_beside_text(blocks: Sequence[StoredBlock]) -> None:
    kinds: Counter[str] = Counter(block["contentType"] for block in blocks)
    tool_bytes = 0
    for block in blocks:
        if block["contentType"] == "toolUse":
            tool_bytes += len(dumps(block["body"]))
        elif block["contentType"] == "toolResult":
            tool_bytes += len(dumps(block["body"]))
            kinds.update(part["kind"] for part in block["body"]["content"] if "kind" in part)
    if kinds["image"] > MAX_IMAGES:
        raise ValidationError([f"A message holds at most {MAX_IMAGES} images."])
    if kinds["attachment"] + kinds["document"] > MAX_DOCUMENTS:
        raise ValidationError([f"A message holds at most {MAX_DOCUMENTS} documents."])
    if tool_bytes > MAX_TOOL_BYTES:
        raise ValidationError(["What tools were given and returned holds at most 1 MB in a message."])


def _parse_block(block: Any, files: dict[str, bytes]) -> StoredBlock:
    """The stored form of a block; its files join `files`. Raises ValidationError."""
    if not isinstance(block, dict):
        raise ValidationError(["Expected a content block (an object)."])
    match block.get("content_type"):
        case "text":
            return {"contentType": "text", "body": _string(block, "body")}
        case "image":
            _refuse_other_types(block)
            body = _image(block, "body")
            form = _true_format(body)
            return {"contentType": "image", "mediaType": f"image/{form}", "blob": _keep(body, files)}
        case "attachment":
            file_name = _string(block, "file_name")
            document_form = document_format(file_name)
            if document_form is None:
                raise Refused("file_name", f"Expected a file of one of these kinds: {', '.join(DOCUMENT_FORMATS)}.")
            body = _document(block, "body", document_form)
            return {"contentType": "attachment", "fileName": file_name, "blob": _keep(body, files)}
        case "tool_use" | "toolUse":
            return {"contentType": "toolUse", "body": _parse_tool_use(_object(block, "body"))}
        case "tool_result" | "toolResult":
            return {"contentType": "toolResult", "body": _parse_tool_result(_object(block, "body"), files)}
        case "reasoning":
            raise Refused("content_type", "Reasoning is the model's; a user's message cannot hold it.")
        case None:
            raise Refused("content_type", "This field is required.")
        case _:
            raise Refused("content_type", "Expected one of text, image, attachment, toolUse, toolResult.")


def _parse_tool_use(body: JsonObject) -> ToolUse:
    return {
        "toolUseId": _string(body, "tool_use_id"),
        "name": _string(body, "name"),
        "input": _object(body, "input"),
    }


def _parse_tool_result(body: JsonObject, files: dict[str, bytes]) -> ToolResult:
    status = _string(body, "status")
    if status not in TOOL_STATUSES:
        raise Refused("status", f"Expected one of {', '.join(TOOL_STATUSES)}.")
    parts = body.get("content")
    if not isinstance(parts, list):
        raise Refused("content", "Expected a list.")
    if len(parts) > MAX_BLOCKS:
        raise Refused("content", f"A tool's result holds at most {MAX_BLOCKS} parts.")
    return {
        "toolUseId": _string(body, "tool_use_id"),
        "status": status,
        "content": [parse_result_part(part, files) for part in parts],
    }


def parse_result_part(part: Any, files: dict[str, bytes]) -> ResultPart:
    """The stored form of a part of a tool's result; its file, if it has one, joins `files`. Raises Refused."""
    if isinstance(part, dict):
        if "text" in part:
            return {"text": _string(part, "text")}
        if "json" in part:
            return {"json": _object(part, "json")}
        if "image" in part:
            form = _string(part, "format")
            if form not in IMAGE_FORMATS:
                raise Refused("format", f"Expected one of {', '.join(IMAGE_FORMATS)}.")
            body = _image(part, "image")
            return {"format": _true_format(body), "blob": _keep(body, files), "kind": "image"}
        if "document" in part:
            form = _string(part, "format")
            if form not in DOCUMENT_FORMATS:
                raise Refused("format", f"Expected one of {', '.join(DOCUMENT_FORMATS)}.")
            body = _document(part, "document", form)
            name = _string(part, "name")
            return {"format": form, "name": name, "blob": _keep(body, files), "kind": "document"}
    raise Refused("content", "Expected an object with text, json, image or document.")


def _string(block: JsonObject, field: str) -> str:
    value = block.get(field)
    if value is None:
        raise Refused(field, "This field is required.")
    if not isinstance(value, str):
        raise Refused(field, "Expected a string.")
    return value


def _object(block: JsonObject, field: str) -> dict[str, Any]:
    value = block.get(field)
    if value is None:
        raise Refused(field, "This field is required.")
    if not isinstance(value, dict):
        raise Refused(field, "Expected an object.")
    return value


def _image(block: JsonObject, field: str) -> bytes:
    return _base64(block, field, MAX_IMAGE_BYTES, "An image holds at most 3.75 MB.")


def _document(block: JsonObject, field: str, form: str) -> bytes:
    most = MAX_DOCUMENT_BYTES[form]
    size = attachments.megabytes_at_most(most)
    return _base64(block, field, most, f"A document of the format {form} holds at most {size}.")


def _base64(block: JsonObject, field: str, most: int, too_large: str) -> bytes:
    """The bytes of a file. Raises Refused, with the sentence `too_large` for more than `most` bytes."""
    encoded = _string(block, field)
    # Four characters are three bytes; up to two of the last three are padding.
    if len(encoded) // 4 * 3 - 2 > most:
        raise Refused(field, too_large)
    try:
        body = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise Refused(field, "Expected base64.") from None
    if not body:
        raise Refused(field, "The file is empty.")
    if len(body) > most:
        raise Refused(field, too_large)
    return body


def _refuse_other_types(block: JsonObject) -> None:
    """Refuses an image whose media type is none that models read. Which of them it is, its bytes decide."""
    kind, _, form = _string(block, "media_type")[:LONGEST_MEDIA_TYPE].lower().partition("/")
    if kind != "image" or form not in (*IMAGE_FORMATS, "jpg"):
        raise Refused("media_type", f"Expected one of {', '.join(f'image/{name}' for name in IMAGE_FORMATS)}.")


def _true_format(body: bytes) -> str:
    """The format of an image by its bytes, whatever its name and type say: Bedrock refuses any other.

    Raises Refused for what is no image, or has too many pixels.
    """
    try:
        header = images.read_header(body)
    except images.NotAnImage:
        raise Refused("body", f"This is no image that can be read (expected {', '.join(IMAGE_FORMATS)}).") from None
    if header.longest_side > MAX_IMAGE_SIDE:
        raise Refused("body", f"An image is at most {MAX_IMAGE_SIDE} × {MAX_IMAGE_SIDE} pixels.")
    return header.form


def _keep(body: bytes, files: dict[str, bytes]) -> str:
    """Adds a file to `files`. Returns its SHA-256."""
    sha256 = storing.digest(body)
    files[sha256] = body
    return sha256
