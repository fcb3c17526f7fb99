"""Validates the content blocks that a user sends. The limits are those of the Converse API's `Message` shape."""

import base64
import binascii
import io
import warnings
from collections.abc import Mapping
from typing import Any

from PIL import Image
from rest_framework.exceptions import ValidationError

from bedrock_chat.blobs import storing
from conversations.content.blocks import (
    DOCUMENT_TYPES,
    Content,
    ResultPart,
    StoredBlock,
    ToolResult,
    ToolUse,
    document_format,
)

MAX_IMAGES = 20
MAX_IMAGE_BYTES = 3_932_160  # 3.75 MB
MAX_IMAGE_SIDE = 8000
MAX_DOCUMENTS = 5
MAX_DOCUMENT_BYTES = 4_718_592  # 4.5 MB
IMAGE_FORMATS = ("gif", "jpeg", "png", "webp")
DOCUMENT_FORMATS = tuple(DOCUMENT_TYPES)
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
    kinds = [block["contentType"] for block in stored]
    if kinds.count("image") > MAX_IMAGES:
        raise ValidationError([f"A message holds at most {MAX_IMAGES} images."])
    if kinds.count("attachment") > MAX_DOCUMENTS:
        raise ValidationError([f"A message holds at most {MAX_DOCUMENTS} documents."])
    return Content(stored, files)


def _parse_block(block: Any, files: dict[str, bytes]) -> StoredBlock:
    """The stored form of a block; its files join `files`. Raises ValidationError."""
    if not isinstance(block, dict):
        raise ValidationError(["Expected a content block (an object)."])
    match block.get("content_type"):
        case "text":
            return {"contentType": "text", "body": _string(block, "body")}
        case "image":
            body = _base64(block, "body")
            form = _image_format(block)
            _check_image(body, form)
            return {"contentType": "image", "mediaType": f"image/{form}", "blob": _keep(body, files)}
        case "attachment":
            file_name = _string(block, "file_name")
            if document_format(file_name) is None:
                raise Refused("file_name", f"Expected a file of one of these kinds: {', '.join(DOCUMENT_FORMATS)}.")
            body = _base64(block, "body")
            _check_document(body)
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
            body = _base64(part, "image")
            _check_image(body, form)
            return {"format": form, "blob": _keep(body, files), "kind": "image"}
        if "document" in part:
            form = _string(part, "format")
            if form not in DOCUMENT_FORMATS:
                raise Refused("format", f"Expected one of {', '.join(DOCUMENT_FORMATS)}.")
            body = _base64(part, "document")
            _check_document(body)
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


def _base64(block: JsonObject, field: str) -> bytes:
    try:
        body = base64.b64decode(_string(block, field), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(field, "Expected base64.") from None
    if not body:
        raise Refused(field, "The file is empty.")
    return body


def _image_format(block: JsonObject) -> str:
    kind, _, form = _string(block, "media_type").lower().partition("/")
    form = "jpeg" if form == "jpg" else form
    if kind != "image" or form not in IMAGE_FORMATS:
        raise Refused("media_type", f"Expected one of {', '.join(f'image/{name}' for name in IMAGE_FORMATS)}.")
    return form


def _check_image(body: bytes, form: str) -> None:
    """Raises Refused for an image that is too large, cannot be read, or is of another format."""
    if len(body) > MAX_IMAGE_BYTES:
        raise Refused("body", "An image holds at most 3.75 MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only the header is read
            with Image.open(io.BytesIO(body), formats=[name.upper() for name in IMAGE_FORMATS]) as image:
                actual, size = (image.format or "").lower(), image.size
    except Image.DecompressionBombError:
        actual, size = form, (MAX_IMAGE_SIDE + 1, 0)
    except (OSError, ValueError, SyntaxError):
        raise Refused("body", f"This is no image that can be read (expected {form}).") from None
    if actual != form:
        raise Refused("body", f"The image is a {actual}, not a {form}.")
    if max(size) > MAX_IMAGE_SIDE:
        raise Refused("body", f"An image is at most {MAX_IMAGE_SIDE} × {MAX_IMAGE_SIDE} pixels.")


def _check_document(body: bytes) -> None:
    if len(body) > MAX_DOCUMENT_BYTES:
        raise Refused("body", "A document holds at most 4.5 MB.")


def _keep(body: bytes, files: dict[str, bytes]) -> str:
    """Adds a file to `files`. Returns its SHA-256."""
    sha256 = storing.digest(body)
    files[sha256] = body
    return sha256
