"""From a branch of the tree to the messages a model is sent."""

from collections.abc import Sequence
from typing import Any

from conversations.content.parsing import Block, ReadBlob, answer_to_converse, question_to_converse
from conversations.tree import Node


def build(path: Sequence[Node], bodies: dict[int, list[Block]], read: ReadBlob) -> list[dict[str, Any]]:
    """Converse messages of a branch, from the first question down. Roles alternate because the tree's do."""
    return [
        {"role": "user", "content": question_to_converse(bodies[node.pk], read)}
        if node.is_question
        else {"role": "assistant", "content": answer_to_converse(bodies[node.pk])}
        for node in path
    ]


def prefill(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same messages, the last one an answer to go on from: its text alone, without trailing white space.

    Bedrock refuses white space at the end, and reasoning is off in a continuation.
    """
    *history, answer = messages
    text = "".join(block["text"] for block in answer["content"] if "text" in block)
    return [*history, {"role": "assistant", "content": [{"text": text.rstrip()}]}]
