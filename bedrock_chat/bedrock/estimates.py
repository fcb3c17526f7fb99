"""Tokens, guessed from what was said, for calls whose usage Bedrock never sent: a stopped stream, a broken one.

Guesses are marked as such wherever they are kept. A token is taken to be four characters of ASCII, or one and a half of
any other script; an image 1,500 tokens, Anthropic's figure for a large one; a document a token per four bytes of text,
or per twenty of a format with markup and compression. Every vendor counts otherwise: expect a quarter off either way.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from bedrock_chat.bedrock.events import Usage
from bedrock_chat.bedrock.request import ModelRequest

ASCII_PER_TOKEN = 4
OTHERS_PER_TOKEN = 1.5
IMAGE_TOKENS = 1_500
PLAIN_DOCUMENTS = frozenset({"csv", "html", "md", "txt"})
BYTES_PER_TOKEN = 4
MARKUP_BYTES_PER_TOKEN = 20


def usage(request: ModelRequest, said: Iterable[Mapping[str, Any]]) -> Usage:
    """What a call used that sent `request` and got the Converse blocks `said` before it ended."""
    body = request.body
    read = [*body.get("system", ()), *body.get("toolConfig", {}).get("tools", ())]
    read += (block for message in body["messages"] for block in message["content"])
    return Usage(sum(map(tokens, read)), sum(map(tokens, said)))


def tokens(block: Mapping[str, Any]) -> int:
    """Of one Converse content block, system block or tool."""
    if "text" in block:
        return text_tokens(block["text"])
    if "image" in block:
        return IMAGE_TOKENS
    if document := block.get("document"):
        per_token = BYTES_PER_TOKEN if document["format"] in PLAIN_DOCUMENTS else MARKUP_BYTES_PER_TOKEN
        return math.ceil(len(document["source"]["bytes"]) / per_token)
    if "cachePoint" in block:
        return 0
    if reasoning := block.get("reasoningContent", {}).get("reasoningText"):
        return text_tokens(reasoning["text"])
    return text_tokens(orjson.dumps(block, default=lambda _: "").decode())


def text_tokens(text: str) -> int:
    others = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
    return math.ceil((len(text) - others) / ASCII_PER_TOKEN + others / OTHERS_PER_TOKEN)
