"""Estimates of tokens from the content of a request and its answer: likely ones and low ones.

*Likely* estimates replace the usage that Bedrock never sent, as for a stopped or broken stream. They are marked as
estimates wherever they are stored. A token is taken to be 4 characters of ASCII, or 1.5 characters of any other script.
An image is 1,500 tokens, Anthropic's figure for a large one. A document is one token per 4 bytes of text, or per 20
bytes of a format with markup and compression. Every vendor counts differently: expect an error of 25 % either way.

*Low* estimates are practically never above the true count, so Bedrock would refuse whatever they refuse. A token is
taken to be 8 visible characters of ASCII, or 4 characters of any other script. That is about twice what the most frugal
tokenizers need for prose. Images count as zero, and so do documents, except plain ones (csv, md, txt). Endless
repetition, such as a line of a million dashes, is the case where a low estimate can be too high.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from bedrock_chat.bedrock.events import Usage
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.bedrock.text_tokens import ASCII_PER_TOKEN, text_tokens

__all__ = ["ASCII_PER_TOKEN", "low_document_tokens", "low_tokens", "text_tokens", "tokens", "usage"]

IMAGE_TOKENS = 1_500
LOW_ASCII_PER_TOKEN = 8
LOW_OTHERS_PER_TOKEN = 4
LOW_PLAIN_DOCUMENTS = frozenset({"csv", "md", "txt"})  # not html: its markup may be left out
PLAIN_DOCUMENTS = frozenset({"csv", "html", "md", "txt"})
BYTES_PER_TOKEN = 4
MARKUP_BYTES_PER_TOKEN = 20


def usage(request: ModelRequest, generated: Iterable[Mapping[str, Any]]) -> Usage:
    """The likely usage of a call that sent `request` and received the Converse blocks `generated`."""
    body = request.body
    inputs = [*body.get("system", ()), *body.get("toolConfig", {}).get("tools", ())]
    inputs += (block for message in body["messages"] for block in message["content"])
    return Usage(sum(map(tokens, inputs)), sum(map(tokens, generated)))


def tokens(block: Mapping[str, Any]) -> int:
    """Likely tokens of one Converse content block, system block or tool."""
    if "text" in block:
        return text_tokens(block["text"])
    if "image" in block:
        return IMAGE_TOKENS
    if document := block.get("document"):
        per_token = BYTES_PER_TOKEN if document["format"] in PLAIN_DOCUMENTS else MARKUP_BYTES_PER_TOKEN
        return math.ceil(len(document["source"]["bytes"]) / per_token)
    if marked := block.get("guardContent"):
        return text_tokens(marked["text"]["text"])
    if "cachePoint" in block:
        return 0
    if reasoning := block.get("reasoningContent", {}).get("reasoningText"):
        return text_tokens(reasoning["text"])
    return text_tokens(orjson.dumps(block, default=lambda _: "").decode())


def low_tokens(text: str) -> int:
    """The fewest tokens that a text can have."""
    others = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
    visible_ascii = len(text) - others - text.count(" ") - text.count("\n") - text.count("\t")
    return int(visible_ascii / LOW_ASCII_PER_TOKEN + others / LOW_OTHERS_PER_TOKEN)


def low_document_tokens(form: str, body: bytes) -> int:
    """The fewest tokens that a document of the format `form` can have.

    Every visible byte counts as a character of ASCII. Characters of other scripts take two or more bytes.
    """
    if form not in LOW_PLAIN_DOCUMENTS:
        return 0
    invisible = sum(map(body.count, (b" ", b"\n", b"\t", b"\r", b"\0")))  # NUL bytes are half of ASCII in UTF-16
    return (len(body) - invisible) // LOW_ASCII_PER_TOKEN
