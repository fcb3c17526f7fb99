"""Walks over the content blocks of a request's JSON."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Body = Mapping[str, Any]
Blocks = Sequence[Mapping[str, Any]]


def flat(content: Blocks) -> Iterator[Mapping[str, Any]]:
    """All blocks, including those inside tool results."""
    for block in content:
        yield block
        yield from (block.get("toolResult") or {}).get("content") or ()


def addressed(messages: Blocks, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where each block of a kind stands, such as `messages.0.content.2`, and the block; tool results included."""
    for number, message in enumerate(messages):
        for index, block in enumerate(message["content"]):
            at = f"messages.{number}.content.{index}"
            if kind in block:
                yield at, block[kind]
            for part, inner in enumerate((block.get("toolResult") or {}).get("content") or ()):
                if kind in inner:
                    yield f"{at}.toolResult.content.{part}", inner[kind]


def has(blocks: Blocks, kind: str) -> bool:
    """Whether any of these blocks is of a kind."""
    return any(kind in block for block in blocks)


def decoded_size(encoded: str) -> int:
    """The number of bytes that a base64 string encodes."""
    return len(encoded) // 4 * 3 - encoded[-2:].count("=")


def thinking(body: Body) -> Mapping[str, Any]:
    """The request's `thinking` field, or an empty mapping."""
    field = (body.get("additionalModelRequestFields") or {}).get("thinking")
    return field if isinstance(field, Mapping) else {}
