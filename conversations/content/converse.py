"""Converts content blocks to and from Converse: the branch that a model is sent, and its answer."""

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
    """The same messages, but of the answer at their end only the text is left, without trailing white space.

    Bedrock refuses white space at the end, and reasoning is off in a continuation.
    """
    *earlier, answer = messages
    text = "".join(block["text"] for block in answer["content"] if "text" in block)
    return [*earlier, {"role": "assistant", "content": [{"text": text.rstrip()}]}]


def question_to_converse(blocks: Iterable[StoredBlock], read: ReadFile) -> list[ConverseBlock]:
    """What the model gets of a user's message: text that is not blank, images and documents, but no tool blocks."""
    converse_blocks: list[ConverseBlock] = []
    for block in blocks:
        if block["contentType"] == "text":
            if block["body"].strip():
                converse_blocks.append({"text": block["body"]})
        elif block["contentType"] == "image" or block["contentType"] == "attachment":
            converse_blocks.append(_file_to_converse(block, read))
    return converse_blocks


def _file_to_converse(block: ImageBlock | AttachmentBlock, read: ReadFile) -> ConverseBlock:
    """An image or a document. For a lost file there is a sentence: else its conversation could never be continued."""
    body = read(block["blob"])
    if body is None:
        return {"text": f"({described(block)[1]} was here; the file has been lost.)"}
    if block["contentType"] == "image":
        return {"image": {"format": block["mediaType"].partition("/")[2], "source": {"bytes": body}}}
    name = block["fileName"]
    return {"document": {"format": document_format(name), "name": name, "source": {"bytes": body}}}


def answer_to_converse(blocks: Sequence[StoredBlock]) -> list[ConverseBlock]:
    """An answer as history: reasoning unmodified, text that is not blank, and at least one block of text.

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
        elif block["contentType"] == "reasoning" and block["redactedContent"]:
            redacted = base64.b64decode(block["redactedContent"])
            converse_blocks.append({"reasoningContent": {"redactedContent": redacted}})
        elif block["contentType"] == "reasoning" and block["text"]:
            text = {"text": block["text"]} | ({"signature": block["signature"]} if block["signature"] else {})
            converse_blocks.append({"reasoningContent": {"reasoningText": text}})
    if not any("text" in block for block in converse_blocks):
        converse_blocks.append({"text": "(no answer)"})
    return converse_blocks


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
