"""Rules for images and documents: how many, how large, in which format, beside what."""

import base64
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from bedrock_chat.bedrock import images
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import invalid, refused_by_model
from bedrock_chat.bedrock.emulator.rules.blocks import Blocks, addressed, decoded_size, flat, has

# What the API reference says of a message, for models of which the catalogue does not know a limit.
MAX_IMAGES = 20
MAX_BASE64_BYTES = 5_242_880
MAX_IMAGE_SIDE = 8000
MAX_DOCUMENTS = 5  # in a request, over all its messages
MAX_DOCUMENT_BYTES = 4_500_000


def check(messages: Blocks, model: Model | None) -> None:
    """Raises Refusal. Without a model only the limits of all models are checked."""
    _documents(messages, model)
    _number_of_images(messages, model)
    sent = [(at, image) for at, image in addressed(messages, "image") if image["source"].get("bytes")]
    limits = model.image_limits if model else None
    many = limits is not None and limits.many is not None and len(sent) > limits.many
    for at, image in sent:
        _image(at, image, model, many=many)


# ---- Images ---------------------------------------------------------------------------------------------------------


def _number_of_images(messages: Blocks, model: Model | None) -> None:
    most = model.image_limits.most if model else None
    if most is None:
        for index, message in enumerate(messages):
            count = sum("image" in block for block in flat(message["content"]))
            if count > MAX_IMAGES:
                raise refused_by_model(f"messages.{index}: too many images and documents: {count} + 0 > {MAX_IMAGES}")
        return
    count = sum(1 for _ in addressed(messages, "image"))
    if count > most > 0:  # a model that sees no images has a sentence of its own
        if model and model.family == "llama":
            raise refused_by_model("Validation Error")
        raise refused_by_model(f"too many images and documents: {count} + 0 > {most}")


def _image(at: str, image: Mapping[str, Any], model: Model | None, *, many: bool) -> None:
    """One image: its bytes as they are sent, its true format, its pixels. `many`: many others are sent with it."""
    encoded, form = image["source"]["bytes"], image["format"]
    at, is_claude = f"{at}.image.source.bytes", model is None or model.family == "claude"
    limits = model.image_limits if model else None
    most = (limits.most_base64_bytes if limits else None) or MAX_BASE64_BYTES
    if len(encoded) > most:
        size = f"{most / 2**20:.3g} MB maximum: {len(encoded)} bytes > {most} bytes"
        raise refused_by_model(f"{at}: image exceeds {size}")
    actual, side = _opened(at, encoded)
    if actual != form:
        raise refused_by_model(
            f"{at}: The image was specified using the image/{form} media type, but the image appears to be a "
            f"image/{actual} image"
            if is_claude
            else "The provided image does not match the specified image format."
        )
    longest = (limits.longest_side if limits else None) or MAX_IMAGE_SIDE
    if side > longest:
        sentence = f"{at}: At least one of the image dimensions exceed max allowed size: {longest} pixels"
        raise refused_by_model(sentence if is_claude else "Image exceeds max pixels allowed.")
    longest_of_many = limits.longest_side_of_many if limits else None
    if many and longest_of_many and side > longest_of_many:
        raise refused_by_model(
            f"{at}: At least one of the image dimensions exceed max allowed size for many-image requests: "
            f"{longest_of_many} pixels"
        )


def _opened(at: str, encoded: str) -> tuple[str, int]:
    """The format and the longest side in pixels, by the file's header. Raises Refusal."""
    try:
        header = images.read_header(base64.b64decode(encoded))
    except images.NotAnImage:
        raise refused_by_model(f"{at}: Could not process image") from None
    return header.form, header.longest_side


# ---- Documents ------------------------------------------------------------------------------------------------------


def _documents(messages: Blocks, model: Model | None) -> None:
    """Documents need text beside them and names that are unique in the request; size and number are limited.

    Documents are not opened. A sentence for too many of them is not known.
    """
    for index, message in enumerate(messages):
        if has(message["content"], "document") and not has(message["content"], "text"):
            raise invalid(
                f"messages.{index}.content: A text block must be included with a document. Add a text block and try "
                "again."
            )
    documents = [document for _, document in addressed(messages, "document")]
    for document in documents:
        _document_name(document["name"])
        of_any_size = model is not None and document["format"] in model.document_limits.formats_of_any_size
        if not of_any_size and decoded_size(document["source"].get("bytes", "")) > MAX_DOCUMENT_BYTES:
            raise invalid(
                "The maximum document size is 4.5 MB. Reduce the size of your document and retry your request."
            )
    if len(documents) > MAX_DOCUMENTS:
        raise invalid(f"You can't include more than {MAX_DOCUMENTS} documents in a request.")
    if len({document["name"] for document in documents}) < len(documents):
        raise invalid("Messages can't contain duplicate document names. Rename the document and retry your request.")


def _document_name(name: str) -> None:
    allowed = all((c.isascii() and c.isalnum()) or c.isspace() or c in "-()[]" for c in name)
    if not allowed or any(a.isspace() and b.isspace() for a, b in pairwise(name)):
        raise invalid(
            "The document file name can only contain alphanumeric characters, whitespace characters, hyphens, "
            "parentheses, and square brackets. The name can't contain more than one consecutive whitespace character. "
            "Check that the file name conforms to these restrictions and retry your request."
        )
