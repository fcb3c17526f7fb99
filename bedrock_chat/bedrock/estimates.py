"""Tokens, guessed from what was said: likely ones and low ones.

*Likely* ones stand for usage that Bedrock never sent: of a stopped stream, a broken one. They are marked as guesses
wherever they are kept. A token is taken to be four characters of ASCII, or one and a half of any other script; an image
1,500 tokens, Anthropic's figure for a large one; a document a token per four bytes of text, or per twenty of a format
with markup and compression. Every vendor counts otherwise: expect a quarter off either way.

*Low* ones are practically never above the true count, so that what they refuse would have been refused anyway. A token
is taken to be eight characters of ASCII that can be seen, or four of any other script, which is about twice what the
most frugal tokenizers need for prose. Images count nothing, nor do documents but plain ones (csv, md, txt). What is
repeated without end, such as a line of a million dashes, is the exception.
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
LOW_ASCII_PER_TOKEN = 8
LOW_OTHERS_PER_TOKEN = 4
LOW_PLAIN_DOCUMENTS = frozenset({"csv", "md", "txt"})  # the markup of html may be left out
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


def low_tokens(text: str) -> int:
    """As few tokens as a text can be."""
    others = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
    seen = len(text) - others - text.count(" ") - text.count("\n") - text.count("\t")
    return int(seen / LOW_ASCII_PER_TOKEN + others / LOW_OTHERS_PER_TOKEN)


def low_document_tokens(form: str, body: bytes) -> int:
    """As few tokens as a document of that format can be. Bytes of other scripts are two and more a character."""
    if form not in LOW_PLAIN_DOCUMENTS:
        return 0
    unseen = sum(map(body.count, (b" ", b"\n", b"\t", b"\r", b"\0")))  # the last: UTF-16
    return (len(body) - unseen) // LOW_ASCII_PER_TOKEN
