"""Converts content blocks to and from Converse: the branch that a model is sent, and its answer."""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from bedrock_chat.bedrock import attachments, request
from bedrock_chat.bedrock.attachments import Attachment
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.bedrock.shapes import ConverseBlock, ConverseMessage
from conversations.content.blocks import (
    AttachmentBlock,
    ImageBlock,
    StoredBlock,
    ToolUse,
    described,
    document_format,
)
from conversations.tree import Node

ReadFile = Callable[[str], bytes | None]
"""SHA-256 → the file's bytes; None where the file is lost."""
SizeOf = Callable[[str], int]
"""SHA-256 → the file's size in bytes, without reading it."""


def history(
    path: Iterable[Node],
    contents: dict[int, list[StoredBlock]],
    read: ReadFile,
    *,
    model: str,
    unsent: frozenset[str] = frozenset(),
    rounds: Mapping[int, Sequence[ConverseMessage]] | None = None,
) -> list[ConverseMessage]:
    """The messages of a branch, from the first question down, for the model of that key. Roles alternate because the
    tree's do.

    `contents` are the messages' blocks by their keys. Reasoning goes back to the model that made it and to no other:
    its signature may mean nothing there, and it is no part of the conversation. Files in `unsent` are not read.

    A question is not sent again if a guardrail intervened in its answer: guardrails judge the whole conversation, and
    would block it from then on.

    `rounds` are the messages that come before an answer, by its key: what its tools were asked and have given.
    """
    nodes = list(path)
    blocked = {node.parent_id for node in nodes if node.stop_reason == StopReason.GUARDRAIL_INTERVENED}
    messages: list[ConverseMessage] = [
        {"role": "assistant", "content": answer_to_converse(contents[node.pk], reasoning=node.model == model)}
        if not node.is_question
        else {"role": "user", "content": [request.IN_PLACE_OF_A_BLOCKED_QUESTION]}
        if node.pk in blocked
        else {"role": "user", "content": question_to_converse(contents[node.pk], read, unsent)}
        for node in nodes
    ]
    if not rounds:
        return messages
    with_rounds: list[ConverseMessage] = []
    for node, message in zip(nodes, messages, strict=True):
        if node.parent_id not in blocked:
            with_rounds += rounds.get(node.pk, ())
        with_rounds.append(message)
    return with_rounds


def unsent_files(
    model: Model, earlier: Iterable[Sequence[StoredBlock]], question: Sequence[StoredBlock], size_of: SizeOf
) -> frozenset[str]:
    """The files of a branch that are surely not sent, by their sizes: they need not be read.

    `earlier` are the questions above, oldest first; `question` is the one that is asked, empty in a continuation.
    """
    shas: list[str] = []
    files: list[Attachment] = []
    for blocks, in_question in (*((blocks, False) for blocks in earlier), (question, True)):
        for block in blocks:
            if block["contentType"] == "image" or block["contentType"] == "attachment":
                shas.append(block["blob"])
                files.append(attachment_of(block, size_of(block["blob"]), in_question=in_question))
    chosen = attachments.sent(model, files)
    return frozenset(shas) - {sha256 for sha256, is_sent in zip(shas, chosen, strict=True) if is_sent}


def attachment_of(
    block: ImageBlock | AttachmentBlock, size: int, *, in_question: bool, body: bytes | None = None
) -> Attachment:
    """What the limits of a request are about: an image, whose `body` tells its pixels, or a document."""
    if block["contentType"] == "image":
        return Attachment("image", _image_format(block), size, in_question, body)
    return Attachment("document", _document_format(block), size, in_question)


def prefill(messages: Sequence[ConverseMessage]) -> list[ConverseMessage]:
    """The same messages, but of the answer at their end only the text is left, without trailing white space.

    Bedrock refuses white space at the end, and reasoning is off in a continuation.
    """
    *earlier, answer = messages
    text = "".join(block["text"] for block in answer["content"] if "text" in block)
    return [*earlier, {"role": "assistant", "content": [{"text": text.rstrip()}]}]


def question_to_converse(
    blocks: Iterable[StoredBlock], read: ReadFile, unsent: frozenset[str] = frozenset()
) -> list[ConverseBlock]:
    """What the model gets of a user's message: text that is not blank, images and documents, but no tool blocks.

    A note stands in the place of files in `unsent`.
    """
    converse_blocks: list[ConverseBlock] = []
    for block in blocks:
        if block["contentType"] == "text":
            if block["body"].strip():
                converse_blocks.append({"text": block["body"]})
        elif block["contentType"] == "image" or block["contentType"] == "attachment":
            converse_blocks.append(_note(block) if block["blob"] in unsent else _file_to_converse(block, read))
    return converse_blocks


def _note(block: ImageBlock | AttachmentBlock) -> ConverseBlock:
    return request.IN_PLACE_OF_AN_IMAGE if block["contentType"] == "image" else request.IN_PLACE_OF_A_DOCUMENT


def _file_to_converse(block: ImageBlock | AttachmentBlock, read: ReadFile) -> ConverseBlock:
    """An image or a document. For a lost file there is a sentence: else its conversation could never be continued."""
    body = read(block["blob"])
    if body is None:
        return {"text": f"({described(block)[1]} was here; the file has been lost.)"}
    if block["contentType"] == "image":
        return {"image": {"format": _image_format(block), "source": {"bytes": body}}}
    return {"document": {"format": _document_format(block), "name": block["fileName"], "source": {"bytes": body}}}


def _image_format(block: ImageBlock) -> str:
    return block["mediaType"].partition("/")[2]


def _document_format(block: AttachmentBlock) -> str:
    return document_format(block["fileName"]) or ""


def answer_to_converse(blocks: Sequence[StoredBlock], *, reasoning: bool = True) -> list[ConverseBlock]:
    """An answer as history: reasoning unmodified if it is wanted, text that is not blank, at least one block of text.

    A tool use is sent back only together with its result, inside the rounds of its own turn. Bedrock refuses a tool use
    without a result.
    """
    first = blocks[0] if len(blocks) == 1 else None
    if first is not None and first["contentType"] == "text" and first["body"].strip():
        return [{"text": first["body"]}]  # a short cut for nearly all answers: each turn converts its whole history
    converse_blocks: list[ConverseBlock] = []
    for block in blocks:
        if block["contentType"] == "text" and block["body"].strip():
            converse_blocks.append({"text": block["body"]})
        elif reasoning and block["contentType"] == "reasoning" and (converse_block := reasoning_to_converse(block)):
            converse_blocks.append(converse_block)
    if not any("text" in block for block in converse_blocks):
        converse_blocks.append(request.NO_ANSWER)
    return converse_blocks


def reasoning_to_converse(block: Mapping[str, Any]) -> ConverseBlock | None:
    """Reasoning as it came from its model. None for a block that was damaged, or has nothing in it."""
    redacted, text, signature = block.get("redactedContent"), block.get("text"), block.get("signature")
    if isinstance(redacted, str) and redacted:
        try:
            return {"reasoningContent": {"redactedContent": base64.b64decode(redacted, validate=True)}}
        except ValueError:
            return None
    if not isinstance(text, str) or not (text or signature):
        return None
    signed = {"signature": signature} if isinstance(signature, str) and signature else {}
    return {"reasoningContent": {"reasoningText": {"text": text} | signed}}


def from_converse(blocks: Iterable[ConverseBlock]) -> list[StoredBlock]:
    """The stored blocks of a model's answer. Kinds of content that the wire does not know are left out."""
    return [stored for block in blocks if (stored := _block_from_converse(block)) is not None]


def _block_from_converse(block: ConverseBlock) -> StoredBlock | None:
    if "text" in block:
        return {"contentType": "text", "body": block["text"]}
    if "toolUse" in block:
        use = block["toolUse"]
        body = ToolUse(toolUseId=use["toolUseId"], name=use["name"], input=use["input"])
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
