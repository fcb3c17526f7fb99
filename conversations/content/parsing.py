"""Content blocks in their three shapes: the wire's, the stored one, and Converse's.

Stored blocks are the wire's (camelCase), except that the base64 body of an image or document is a file in blob storage
and the block holds `{"blob": sha256}` in place of `body`. Limits are those of the Converse API's `Message` shape.
"""

import base64
import binascii
import hashlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from PIL import Image
from rest_framework.exceptions import ValidationError

from bedrock_chat.blobs import storing
from conversations.content.files import ShowBlob

logger = logging.getLogger(__name__)

MAX_IMAGES = 20
MAX_IMAGE_BYTES = 3_932_160  # 3.75 MB
MAX_IMAGE_SIDE = 8000
MAX_DOCUMENTS = 5
MAX_DOCUMENT_BYTES = 4_718_592  # 4.5 MB
IMAGE_FORMATS = ("gif", "jpeg", "png", "webp")
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
DOCUMENT_FORMATS = tuple(DOCUMENT_TYPES)
TOOL_STATUSES = ("error", "success")

Block = dict[str, Any]
ReadBlob = Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Content:
    """The validated content of a message: stored blocks, and the bodies (SHA-256 → bytes) they name."""

    blocks: list[Block]
    bodies: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Equal content has an equal digest, whatever the order of keys."""
        return hashlib.sha256(orjson.dumps(self.blocks, option=orjson.OPT_SORT_KEYS)).hexdigest()

    def says_something(self) -> bool:
        """Whether anything is left for the model: tool traffic in a user's message is stored and never sent."""
        return any(
            block["contentType"] in ("image", "attachment")
            or (block["contentType"] == "text" and block["body"].strip())
            for block in self.blocks
        )


class Refused(ValidationError):
    """A content block the API does not take; `field` is relative to the block."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__({field: [message]} if field else [message])


# ---- From the wire --------------------------------------------------------------------------------------------------


def parse(blocks: Any) -> Content:
    """Validates a user's content list (snake_case keys). Raises DRF's ValidationError with the path of each fault."""
    if not isinstance(blocks, list):
        raise ValidationError(["Expected a list of content blocks."])
    bodies: dict[str, bytes] = {}
    stored: list[Block] = []
    errors: dict[str, Any] = {}
    for index, block in enumerate(blocks):
        try:
            stored.append(_parse_block(block, bodies))
        except ValidationError as error:
            errors[str(index)] = error.detail
    if errors:
        raise ValidationError(errors)
    kinds = [block["contentType"] for block in stored]
    if kinds.count("image") > MAX_IMAGES:
        raise ValidationError([f"A message holds at most {MAX_IMAGES} images."])
    if kinds.count("attachment") > MAX_DOCUMENTS:
        raise ValidationError([f"A message holds at most {MAX_DOCUMENTS} documents."])
    return Content(stored, bodies)


def _parse_block(block: Any, bodies: dict[str, bytes]) -> Block:
    if not isinstance(block, dict):
        raise ValidationError(["Expected a content block (an object)."])
    match block.get("content_type"):
        case "text":
            return {"contentType": "text", "body": _string(block, "body")}
        case "image":
            body = _base64(block, "body")
            form = _image_format(block)
            _check_image(body, form)
            return {"contentType": "image", "mediaType": f"image/{form}", "blob": _keep(body, bodies)}
        case "attachment":
            file_name = _string(block, "file_name")
            document_format(file_name)
            body = _base64(block, "body")
            _check_document(body)
            return {"contentType": "attachment", "fileName": file_name, "blob": _keep(body, bodies)}
        case "tool_use" | "toolUse":
            return {"contentType": "toolUse", "body": _parse_tool_use(_object(block, "body"))}
        case "tool_result" | "toolResult":
            return {"contentType": "toolResult", "body": _parse_tool_result(_object(block, "body"), bodies)}
        case "reasoning":
            raise Refused("content_type", "Reasoning is the model's; a user's message cannot hold it.")
        case None:
            raise Refused("content_type", "This field is required.")
        case _:
            raise Refused("content_type", "Expected one of text, image, attachment, toolUse, toolResult.")


def _parse_tool_use(body: Block) -> Block:
    return {
        "toolUseId": _string(body, "tool_use_id"),
        "name": _string(body, "name"),
        "input": _object(body, "input"),
    }


def _parse_tool_result(body: Block, bodies: dict[str, bytes]) -> Block:
    status = _string(body, "status")
    if status not in TOOL_STATUSES:
        raise Refused("status", f"Expected one of {', '.join(TOOL_STATUSES)}.")
    parts = body.get("content")
    if not isinstance(parts, list):
        raise Refused("content", "Expected a list.")
    return {
        "toolUseId": _string(body, "tool_use_id"),
        "status": status,
        "content": [parse_result_part(part, bodies) for part in parts],
    }


def parse_result_part(part: Any, bodies: dict[str, bytes]) -> Block:
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
            return {"format": form, "blob": _keep(body, bodies), "kind": "image"}
        if "document" in part:
            form = _string(part, "format")
            if form not in DOCUMENT_FORMATS:
                raise Refused("format", f"Expected one of {', '.join(DOCUMENT_FORMATS)}.")
            body = _base64(part, "document")
            _check_document(body)
            name = _string(part, "name")
            return {"format": form, "name": name, "blob": _keep(body, bodies), "kind": "document"}
    raise Refused("content", "Expected an object with text, json, image or document.")


def _string(block: Mapping[str, Any], field: str) -> str:
    value = block.get(field)
    if value is None:
        raise Refused(field, "This field is required.")
    if not isinstance(value, str):
        raise Refused(field, "Expected a string.")
    return value


def _object(block: Mapping[str, Any], field: str) -> Block:
    value = block.get(field)
    if value is None:
        raise Refused(field, "This field is required.")
    if not isinstance(value, dict):
        raise Refused(field, "Expected an object.")
    return value


def _base64(block: Mapping[str, Any], field: str) -> bytes:
    try:
        body = base64.b64decode(_string(block, field), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(field, "Expected base64.") from None
    if not body:
        raise Refused(field, "The file is empty.")
    return body


def _image_format(block: Mapping[str, Any]) -> str:
    kind, _, form = _string(block, "media_type").lower().partition("/")
    form = "jpeg" if form == "jpg" else form
    if kind != "image" or form not in IMAGE_FORMATS:
        raise Refused("media_type", f"Expected one of {', '.join(f'image/{name}' for name in IMAGE_FORMATS)}.")
    return form


def _check_image(body: bytes, form: str) -> None:
    if len(body) > MAX_IMAGE_BYTES:
        raise Refused("body", "An image holds at most 3.75 MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # only the header is read
            with Image.open(io.BytesIO(body), formats=[name.upper() for name in IMAGE_FORMATS]) as image:
                found, size = (image.format or "").lower(), image.size
    except Image.DecompressionBombError:
        found, size = form, (MAX_IMAGE_SIDE + 1, 0)
    except (OSError, ValueError, SyntaxError):
        raise Refused("body", f"This is no image that can be read (expected {form}).") from None
    if found != form:
        raise Refused("body", f"The image is a {found}, not a {form}.")
    if max(size) > MAX_IMAGE_SIDE:
        raise Refused("body", f"An image is at most {MAX_IMAGE_SIDE} × {MAX_IMAGE_SIDE} pixels.")


def document_format(file_name: str) -> str:
    form = file_name.rpartition(".")[2].lower() if "." in file_name else ""
    form = {"htm": "html", "markdown": "md"}.get(form, form)
    if form not in DOCUMENT_FORMATS:
        raise Refused("file_name", f"Expected a file of one of these kinds: {', '.join(DOCUMENT_FORMATS)}.")
    return form


def _check_document(body: bytes) -> None:
    if len(body) > MAX_DOCUMENT_BYTES:
        raise Refused("body", "A document holds at most 4.5 MB.")


def _keep(body: bytes, bodies: dict[str, bytes]) -> str:
    sha256 = storing.digest(body)
    bodies[sha256] = body
    return sha256


# ---- To the wire ----------------------------------------------------------------------------------------------------


def to_wire(blocks: list[Block], show: ShowBlob) -> list[Block]:
    """The blocks as a client reads them."""
    return [_block_to_wire(block, show) for block in blocks]


def _block_to_wire(block: Block, show: ShowBlob) -> Block:
    if "blob" in block:
        kept = {key: value for key, value in block.items() if key != "blob"}
        return kept | show(block["blob"], *_described(block))
    if block["contentType"] == "toolResult":
        parts = [part_to_wire(part, show) for part in block["body"]["content"]]
        return {"contentType": "toolResult", "body": {**block["body"], "content": parts}}
    return block


def _described(block: Block) -> tuple[str, str]:
    """The media type and file name of an image or a document."""
    if block["contentType"] == "image":
        return block["mediaType"], f"image.{block['mediaType'].partition('/')[2]}"
    return DOCUMENT_TYPES[document_format(block["fileName"])], block["fileName"]


def part_to_wire(part: Block, show: ShowBlob) -> Block:
    """A part of a tool's result; its body stands under its kind."""
    if "blob" not in part:
        return part
    form, kind = part["format"], part["kind"]
    named: str = part.get("name") or kind
    content_type = f"image/{form}" if kind == "image" else DOCUMENT_TYPES[form]
    shown = show(part["blob"], content_type, named if named.endswith(f".{form}") else f"{named}.{form}")
    kept = {key: value for key, value in part.items() if key not in ("blob", "kind")}
    return kept | {kind if key == "body" else key: value for key, value in shown.items()}


def blob_shas(blocks: list[Block]) -> Iterator[str]:
    """Every blob that the blocks name."""
    for block in blocks:
        if "blob" in block:
            yield block["blob"]
        elif block["contentType"] == "toolResult":
            for part in block["body"]["content"]:
                yield from part_shas(part)


def part_shas(part: Block) -> Iterator[str]:
    """The blob that a part of a tool's result names, if any."""
    if "blob" in part:
        yield part["blob"]


# ---- To and from Converse -------------------------------------------------------------------------------------------


def question_to_converse(blocks: list[Block], read: ReadBlob) -> list[Block]:
    """What the model gets of a user's message: text that is not blank, images and documents, nothing of tools."""
    found: list[Block] = []
    for block in blocks:
        match block["contentType"]:
            case "text" if block["body"].strip():
                found.append({"text": block["body"]})
            case "image" | "attachment":
                found.append(_file_to_converse(block, read))
    return found


def _file_to_converse(block: Block, read: ReadBlob) -> Block:
    """An image or a document. A lost one is a sentence, or its conversation could never be continued."""
    try:
        source = {"bytes": read(block["blob"])}
    except FileNotFoundError:
        logger.exception("The file of blob %s is lost; the model is told so.", block["blob"])
        return {"text": f"({_described(block)[1]} was here; the file has been lost.)"}
    if block["contentType"] == "image":
        return {"image": {"format": block["mediaType"].partition("/")[2], "source": source}}
    name = block["fileName"]
    return {"document": {"format": document_format(name), "name": name, "source": source}}


def answer_to_converse(blocks: list[Block]) -> list[Block]:
    """An answer as history: reasoning unmodified, text that is not blank, and never nothing.

    A tool use goes back only together with its result, inside the rounds of its own turn; alone Bedrock refuses it.
    """
    if len(blocks) == 1 and blocks[0]["contentType"] == "text" and blocks[0]["body"].strip():
        return [{"text": blocks[0]["body"]}]  # nearly all answers, and all of a long history on every turn
    found: list[Block] = []
    for block in blocks:
        if block["contentType"] == "text" and block["body"].strip():
            found.append({"text": block["body"]})
        elif block["contentType"] == "reasoning" and block["redactedContent"]:
            data = base64.b64decode(block["redactedContent"])
            found.append({"reasoningContent": {"redactedContent": data}})
        elif block["contentType"] == "reasoning" and block["text"]:
            text = {"text": block["text"]} | ({"signature": block["signature"]} if block["signature"] else {})
            found.append({"reasoningContent": {"reasoningText": text}})
    if not any("text" in block for block in found):
        found.append({"text": "(no answer)"})
    return found


def from_converse(blocks: list[Block]) -> list[Block]:
    """A model's answer as stored; kinds of content that the wire does not know are left out."""
    return [stored for block in blocks if (stored := _block_from_converse(block)) is not None]


def _block_from_converse(block: Block) -> Block | None:
    if "text" in block:
        return {"contentType": "text", "body": block["text"]}
    if "toolUse" in block:
        use = block["toolUse"]
        body = {"toolUseId": use["toolUseId"], "name": use["name"], "input": use["input"]}
        return {"contentType": "toolUse", "body": body}
    if "reasoningContent" in block:
        reasoning = block["reasoningContent"]
        text = reasoning.get("reasoningText", {})
        return {
            "contentType": "reasoning",
            "text": text.get("text", ""),
            "signature": text.get("signature", ""),
            "redactedContent": base64.b64encode(reasoning.get("redactedContent", b"")).decode(),
        }
    return None


def has_text(blocks: list[Block]) -> bool:
    return any(block["contentType"] == "text" and block["body"].strip() for block in blocks)


def text_to_extend(blocks: list[Block]) -> str:
    """All text of an answer as a continuation finds it: what the model says next goes on where this ends."""
    return "\n\n".join(block["body"] for block in blocks if block["contentType"] == "text").rstrip()


def extend(blocks: list[Block], continuation: list[Block]) -> list[Block]:
    """An answer with its continuation: new text joins the last text block, trailing white space counting once.

    The model was sent the text without its trailing white space, so that is where its words go on.
    """
    new_text = "".join(block["body"] for block in continuation if block["contentType"] == "text")
    if not new_text:
        return blocks
    index = max(i for i, block in enumerate(blocks) if block["contentType"] == "text")
    joined = blocks[index]["body"].rstrip() + new_text
    others = [block for block in continuation if block["contentType"] == "toolUse"]
    return [*blocks[:index], {"contentType": "text", "body": joined}, *blocks[index + 1 :], *others]
