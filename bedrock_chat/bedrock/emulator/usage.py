"""Counts tokens plausibly, and keeps a prompt cache whose reads and writes are counted exactly.

A token is four characters. As on Bedrock, `inputTokens` excludes tokens read from or written to the cache.
"""

import base64
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from bedrock_chat.bedrock.catalog import Model

CHARACTERS_PER_TOKEN = 4
IMAGE_TOKENS = 1_500
PAGE_TOKENS = 2_000  # of a PDF, whose pages are read as text and as pictures
MARKUP_BYTES_PER_TOKEN = 20  # of a document with markup and compression
PLAIN_DOCUMENTS = {"csv", "html", "md", "txt"}
LOOK_BACK = 20  # a checkpoint also finds a shorter cached prefix, which may end up to 20 blocks before it
SECONDS_TO_LIVE = {"5m": 300.0, "1h": 3600.0}


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call. `write_ttl` is how long the tokens written to the cache live, "5m" or "1h"."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    write_ttl: str = "5m"

    def wire(self) -> dict[str, Any]:
        details = [{"inputTokens": self.cache_write, "ttl": self.write_ttl}] if self.cache_write else []
        return {
            "inputTokens": self.input,
            "outputTokens": self.output,
            "totalTokens": self.input + self.output + self.cache_read + self.cache_write,
            "cacheReadInputTokens": self.cache_read,
            "cacheWriteInputTokens": self.cache_write,
            "cacheDetails": details,
        }


def tokens(characters: int) -> int:
    return max(1, -(-characters // CHARACTERS_PER_TOKEN))


def input_tokens(body: Mapping[str, Any]) -> int:
    """Tokens of the tools, the system prompt and the messages, cached or not."""
    return max(1, sum(_block_tokens(block) for block in prompt_blocks(body)))


def output_tokens(blocks: Iterator[Mapping[str, Any]] | tuple[Mapping[str, Any], ...]) -> int:
    """Tokens of an answer. At least 1, even for an empty one: the model wrote that it stops."""
    return max(1, sum(_block_tokens(block) for block in blocks))


def prompt_blocks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Everything that the model reads, in the order in which prefixes of it are cached."""
    yield from (body.get("toolConfig") or {}).get("tools") or ()
    yield from body.get("system") or ()
    for message in body.get("messages") or ():
        yield from message["content"]


class PromptCache:
    """Cached prefixes of prompts, by model, until they expire. A hit prolongs a prefix. At most `size` are kept."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, size: int = 10_000) -> None:
        self._clock = clock
        self._size = size
        self._prefixes: OrderedDict[bytes, tuple[float, float]] = OrderedDict()  # digest → expiry, seconds to live

    def clear(self) -> None:
        self._prefixes.clear()

    def account(self, model: Model | None, body: Mapping[str, Any], output: int) -> Usage:
        """The usage of a request, whose prefixes are stored.

        1. Of the request's checkpoints, those with enough tokens before them are usable.
        2. The longest prefix in the cache that a usable checkpoint finds is read.
        3. What lies between it and the last usable checkpoint is written; the rest is plain input.
        """
        prefixes, marks, total = _walk(model, body)
        smallest = model.caching.min_tokens if model and model.caching.min_tokens else 1024
        usable = [(index, ttl) for index, ttl in marks if prefixes[index][1] >= smallest]
        if not usable:
            return Usage(total, output)
        now = self._clock()
        candidates = {i for index, _ in usable for i in range(max(0, index - LOOK_BACK), index + 1)}
        read = max((prefixes[i][1] for i in candidates if self._hit(prefixes[i][0], now)), default=0)
        written = max(0, prefixes[usable[-1][0]][1] - read)
        for index, ttl in usable:
            self._store(prefixes[index][0], now, SECONDS_TO_LIVE[ttl])
        return Usage(max(0, total - read - written), output, read, written, usable[-1][1])

    def _hit(self, prefix: bytes, now: float) -> bool:
        expiry, seconds = self._prefixes.get(prefix, (0.0, 0.0))
        if expiry <= now:
            return False
        self._prefixes[prefix] = (now + seconds, seconds)
        return True

    def _store(self, prefix: bytes, now: float, seconds: float) -> None:
        self._prefixes[prefix] = (now + seconds, seconds)
        self._prefixes.move_to_end(prefix)
        while len(self._prefixes) > self._size:
            self._prefixes.popitem(last=False)


def _walk(model: Model | None, body: Mapping[str, Any]) -> tuple[list[tuple[bytes, int]], list[tuple[int, str]], int]:
    """All prefixes (digest, tokens), one per block; checkpoints (index of the block before, TTL); tokens in all."""
    marks: list[tuple[int, str]] = []
    blocks: list[Mapping[str, Any]] = []
    for block in prompt_blocks(body):
        if "cachePoint" in block:
            if blocks:
                marks.append((len(blocks) - 1, block["cachePoint"].get("ttl") or "5m"))
        else:
            blocks.append(block)
    if not marks:
        return [], [], max(1, sum(map(_block_tokens, blocks)))
    digest = blake2b(model.bedrock_id.encode() if model else b"", digest_size=16)
    prefixes, total = [], 0
    for block in blocks:
        digest.update(orjson.dumps(block, option=orjson.OPT_SORT_KEYS))
        total += _block_tokens(block)
        prefixes.append((digest.copy().digest(), total))
    return prefixes, marks, total


def _block_tokens(block: Mapping[str, Any]) -> int:
    if (text := block.get("text")) is not None:
        return tokens(len(text))
    if marked := block.get("guardContent"):
        return _block_tokens(marked.get("text", marked))
    if "image" in block:
        return IMAGE_TOKENS
    if document := block.get("document"):
        return _document_tokens(document)
    if result := block.get("toolResult"):
        return 1 + sum(map(_block_tokens, result["content"]))
    if "cachePoint" in block:
        return 0
    return tokens(len(orjson.dumps(block)))


def _document_tokens(document: Mapping[str, Any]) -> int:
    encoded = document["source"].get("bytes") or ""
    if document["format"] == "pdf":
        return PAGE_TOKENS * max(1, len(_PAGE.findall(base64.b64decode(encoded))))
    size = len(encoded) * 3 // 4
    return tokens(size) if document["format"] in PLAIN_DOCUMENTS else max(1, -(-size // MARKUP_BYTES_PER_TOKEN))


_PAGE = re.compile(rb"/Type\s*/Page\b(?!s)")
