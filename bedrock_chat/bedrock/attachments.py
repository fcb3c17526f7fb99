"""Which images and documents of a conversation go into one request, and what is said where a message holds too many.

Bedrock's limits count over all messages of a request, so the files of a long conversation do not all fit. The newest
ones are sent, and `request` puts a note in the place of each other one. The files of the question that is asked are
never left out: where they are too much by themselves, the request is refused.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from bedrock_chat.bedrock import images
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.shapes import ConverseMessage
from bedrock_chat.wire.errors import BadRequest

USUAL_IMAGES = 20  # in a request, where AWS tells no number for a model; the API reference allows so many in a message
USUAL_REQUEST_BYTES = 25_000_000  # where AWS tells no number for a model
LONGEST_SIDE = 8000  # pixels of any image; the API reference
BYTES_AROUND_A_FILE = 200  # of the JSON that describes a file, at most
BYTES_OF_PARAMETERS = 5_000  # of a request's JSON, at most
MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True)
class Attachment:
    """An image or a document of a conversation. `form` is its format, `size` its length in bytes.

    `in_question`: it belongs to the question that is asked. `body` holds an image's bytes, from which its pixels are
    read if they matter; None if the file was not read.
    """

    kind: Literal["image", "document"]
    form: str
    size: int
    in_question: bool = False
    body: bytes | None = None

    @property
    def request_bytes(self) -> int:
        """The bytes that it adds to a request, in base64."""
        return 4 * math.ceil(self.size / 3) + BYTES_AROUND_A_FILE

    @property
    def longest_side(self) -> int:
        """In pixels; 0 where it is not known."""
        try:
            return images.read_header(self.body).longest_side if self.body else 0
        except images.NotAnImage:
            return 0


# ---- A model's limits -----------------------------------------------------------------------------------------------


def most_images(model: Model) -> int:
    """How many images a request to this model may hold."""
    return USUAL_IMAGES if model.image_limits.most is None else model.image_limits.most


def most_request_bytes(model: Model) -> int:
    """The largest JSON of a request to this model, in bytes."""
    return model.max_request_bytes or USUAL_REQUEST_BYTES


def most_document_bytes(model: Model, form: str) -> int:
    """The largest document of this format that the model takes, in bytes; 0 for a model that reads none."""
    if model.documents is False:
        return 0
    limits = model.document_limits
    by_request = most_request_bytes(model) // 4 * 3
    is_limited = limits.most_bytes is not None and form not in limits.formats_of_any_size
    return min(limits.most_bytes, by_request) if is_limited and limits.most_bytes else by_request


# ---- A conversation's files -----------------------------------------------------------------------------------------


def of_messages(messages: Sequence[ConverseMessage]) -> list[Attachment]:
    """The images and documents of all messages, also those in tool results, oldest first."""
    question_index = _question_index(messages)
    files = []
    for index, message in enumerate(messages):
        for block in message["content"] if message["role"] == "user" else ():
            if "text" in block:  # nearly all
                continue
            for part in block["toolResult"]["content"] if "toolResult" in block else (block,):
                if image := part.get("image"):
                    body = image["source"]["bytes"]
                    files.append(Attachment("image", image["format"], len(body), index == question_index, body))
                elif document := part.get("document"):
                    size = len(document["source"]["bytes"])
                    files.append(Attachment("document", document["format"], size, index == question_index))
    return files


def _question_index(messages: Sequence[ConverseMessage]) -> int | None:
    """The index of the question that is asked. None in a continuation, which asks none."""
    if messages[-1]["role"] != "user":
        return None
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        if message["role"] == "user" and not any("toolResult" in block for block in message["content"]):
            return index
    return None


def bytes_beside(model: Model, attachments: Sequence[Attachment], rest: Any) -> int:
    """The bytes of a request's JSON without its files; `rest` is what it is made of.

    0 where the files are few: then the rest does not matter, and is not counted.
    """
    if sum(attachment.request_bytes for attachment in attachments) <= most_request_bytes(model) // 2:
        return 0
    return BYTES_OF_PARAMETERS + len(json.dumps(rest, default=lambda _: ""))


def sent(model: Model, attachments: Sequence[Attachment], other_bytes: int = 0) -> list[bool]:
    """For each file of a conversation, oldest first, whether it is sent. `other_bytes` is the rest of the JSON.

    1. The files of the question that is asked are sent.
    2. Of the others, from the newest to the oldest, those that the model can read are sent, as many as it takes.
    3. When the request is full, all that are older are left out, however small.
    4. Of many images none may be large: see `_leave_out_large`.
    """
    chosen = [attachment.in_question for attachment in attachments]
    left = {"image": most_images(model), "document": model.document_limits.most or 0}
    room = most_request_bytes(model) - other_bytes
    for attachment in attachments:
        if attachment.in_question:
            left[attachment.kind] -= 1
            room -= attachment.request_bytes
    for index, attachment in reversed(list(enumerate(attachments))):
        if attachment.in_question or left[attachment.kind] <= 0 or not _is_readable(model, attachment):
            continue
        room -= attachment.request_bytes
        if room < 0:
            break
        left[attachment.kind] -= 1
        chosen[index] = True
    _leave_out_large(model, attachments, chosen)
    return chosen


def _is_readable(model: Model, attachment: Attachment) -> bool:
    if attachment.kind == "image":
        return model.images is not False
    return attachment.size <= most_document_bytes(model, attachment.form)


def _leave_out_large(model: Model, attachments: Sequence[Attachment], chosen: list[bool]) -> None:
    """Takes out images that have too many pixels. Files are opened only where that matters.

    Where a model wants small images if there are many, the newest ones, not yet many, are kept as they are. Older ones
    are sent beside them if all of these are small, and if they are small themselves.
    """
    limits = model.image_limits
    newest_first = [
        index
        for index in sorted(range(len(attachments)), key=lambda index: (attachments[index].in_question, index))[::-1]
        if chosen[index] and attachments[index].kind == "image"
    ]
    if limits.longest_side is not None and limits.longest_side < LONGEST_SIDE:
        for index in newest_first:
            if not attachments[index].in_question and attachments[index].longest_side > limits.longest_side:
                chosen[index] = False
        newest_first = [index for index in newest_first if chosen[index]]
    if limits.many is None or limits.longest_side_of_many is None or len(newest_first) <= limits.many:
        return
    is_large = {index: attachments[index].longest_side > limits.longest_side_of_many for index in newest_first}
    newest, older = newest_first[: limits.many], newest_first[limits.many :]
    none_beside_them = any(is_large[index] for index in newest)
    for index in older:
        chosen[index] = not (none_beside_them or is_large[index])


# ---- A message's files ----------------------------------------------------------------------------------------------


def refuse_excess(model: Model, question_files: Sequence[Attachment], other_bytes: int = 0) -> None:
    """Raises BadRequest where the files of one message are more than the model takes, and says how much too much.

    `other_bytes` is the rest of the request's JSON that cannot be left out.
    """
    if excess := _excess(model, question_files, other_bytes):
        raise BadRequest(excess)


def _excess(model: Model, question_files: Sequence[Attachment], other_bytes: int) -> str | None:
    name = model.display_name
    pictures = [attachment for attachment in question_files if attachment.kind == "image"]
    documents = [attachment for attachment in question_files if attachment.kind == "document"]
    for count, most, kind in (
        (len(pictures), most_images(model), "image"),
        (len(documents), model.document_limits.most or 0, "document"),
    ):
        if count > most:
            return f"{name} takes at most {most} {kind}{'s' * (most != 1)} at a time; this message holds {count}."
    longest = model.image_limits.longest_side
    if longest is not None and longest < LONGEST_SIDE:
        side = max((picture.longest_side for picture in pictures), default=0)
        if side > longest:
            return f"{name} takes images of at most {longest} × {longest} pixels; this message has one of {side}."
    for document in documents:
        most = most_document_bytes(model, document.form)
        if document.size > most:
            limit, size = megabytes_at_most(most), megabytes(document.size)
            return f"{name} takes a {document.form} document of at most {limit}; this message has one of {size}."
    request_bytes = sum(attachment.request_bytes for attachment in question_files) + other_bytes
    if question_files and request_bytes > most_request_bytes(model):
        size = megabytes(sum(file.size for file in question_files))
        return (
            f"The files of this message are too large together for {name}: {size}. "
            f"With all text, and in base64, that makes a request of {megabytes(request_bytes)}; it takes "
            f"{megabytes_at_most(most_request_bytes(model))}. Leave some of them out, or send them in smaller versions."
        )
    return None


def megabytes(size: int) -> str:
    """A size in decimal megabytes, rounded up, so that what is too large never looks as if it were not."""
    return f"{math.ceil(size * 10 / MEGABYTE) / 10:,.1f} MB"


def megabytes_at_most(limit: int) -> str:
    """A limit in decimal megabytes, rounded down."""
    return f"{limit * 10 // MEGABYTE / 10:g} MB"
