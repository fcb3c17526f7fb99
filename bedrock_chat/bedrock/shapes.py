"""The types of Converse's messages and content blocks, as botocore takes and returns them."""

from typing import Any, Literal, TypedDict


class ConverseBlock(TypedDict, total=False):
    """A content block. Exactly one of these members is present."""

    text: str
    image: dict[str, Any]
    document: dict[str, Any]
    toolUse: dict[str, Any]
    toolResult: dict[str, Any]
    reasoningContent: dict[str, Any]
    cachePoint: dict[str, str]
    guardContent: dict[str, Any]


class ConverseMessage(TypedDict):
    """One message of a conversation. The roles alternate, and the first message is the user's."""

    role: Literal["user", "assistant"]
    content: list[ConverseBlock]


def kind_of(block: ConverseBlock) -> str:
    """The member that is present in a block, such as `text` or `image`. For a document it is the format, such as `pdf`.

    Models that take a cache point behind documents take it behind some formats only.
    """
    if document := block.get("document"):
        form: str = document["format"]
        return form
    return next(iter(block))
