"""Converse's shapes that pass through our hands, as botocore takes and gives them."""

from typing import Any, Literal, TypedDict


class ConverseBlock(TypedDict, total=False):
    """A content block: exactly one of these members stands in it."""

    text: str
    image: dict[str, Any]
    document: dict[str, Any]
    toolUse: dict[str, Any]
    toolResult: dict[str, Any]
    reasoningContent: dict[str, Any]
    cachePoint: dict[str, str]


class ConverseMessage(TypedDict):
    """What one side has said; roles alternate, and a user begins."""

    role: Literal["user", "assistant"]
    content: list[ConverseBlock]
