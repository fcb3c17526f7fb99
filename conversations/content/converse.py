"""Content blocks to and from Converse: what a model is sent of a branch, and what it has answered."""

import base64
from collections.abc import Callable, Iterable, Sequence

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


def history(path: Iterable[Node], contents: dict[int, list[StoredBlock]], read: ReadFile) -> list[ConverseMessage]:
    """The messages of a branch, from the first question down. Roles alternate because the tree's do.

    `contents` are the messages' blocks by their keys.
    """
    return [
        {"role": "user", "content": question_to_converse(contents[node.pk], read)}
        if node.is_question
        else {"role": "assistant", "content": answer_to_converse(contents[node.pk])}
        for node in path
    ]


def prefill(messages: Sequence[ConverseMessage]) -> list[ConverseMessage]:
    """The same messages, the last one an answer to go on from: its text alone, without trailing white space.

    Bedrock refuses white space at the end, and reasoning is off in a continuation.
    """
    *earlier, answer = messages
    text = "".join(block["text"] for block in answer["content"] if "text" in block)
    return [*earlier, {"role": "assistant", "content": [{"text": text.rstrip()}]}]


def question_to_converse(blocks: Iterable[StoredBlock], read: ReadFile) -> list[ConverseBlock]:
    """What the model gets of a user's message: text that is not blank, images and documents, nothing of tools."""
    sent: list[ConverseBlock] = []
    for block in blocks:
        if block["contentType"] == "text":
            if block["body"].strip():
                sent.append({"text": block["body"]})
        elif block["contentType"] == "image" or block["contentType"] == "attachment":
            sent.append(_file_to_converse(block, read))
    return sent


def _file_to_converse(block: ImageBlock | AttachmentBlock, read: ReadFile) -> ConverseBlock:
    """An image or a document. A lost one is a sentence, or its conversation could never be continued."""
    body = read(block["blob"])
    if body is None:
        return {"text": f"({described(block)[1]} was here; the file has been lost.)"}
    if block["contentType"] == "image":
        return {"image": {"format": block["mediaType"].partition("/")[2], "source": {"bytes": body}}}
    name = block["fileName"]
    return {"document": {"format": document_format(name), "name": name, "source": {"bytes": body}}}


def answer_to_converse(blocks: Sequence[StoredBlock]) -> list[ConverseBlock]:
    """An answer as history: reasoning unmodified, text that is not blank, and never nothing.

    A tool use goes back only together with its result, inside the rounds of its own turn; alone Bedrock refuses it.
    """
    first = blocks[0] if len(blocks) == 1 else None
    if first is not None and first["contentType"] == "text" and first["body"].strip():
        return [{"text": first["body"]}]  # nearly all answers, and all of a long history on every turn
    sent: list[ConverseBlock] = []
    for block in blocks:
        if block["contentType"] == "text" and block["body"].strip():
            sent.append({"text": block["body"]})
        elif block["contentType"] == "reasoning" and block["redactedContent"]:
            redacted = base64.b64decode(block["redactedContent"])
            sent.append({"reasoningContent": {"redactedContent": redacted}})
        elif block["contentType"] == "reasoning" and block["text"]:
            text = {"text": block["text"]} | ({"signature": block["signature"]} if block["signature"] else {})
            sent.append({"reasoningContent": {"reasoningText": text}})
    if not any("text" in block for block in sent):
        sent.append({"text": "(no answer)"})
    return sent


def from_converse(blocks: Iterable[ConverseBlock]) -> list[StoredBlock]:
    """A model's answer as stored; kinds of content that the wire does not know are left out."""
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
