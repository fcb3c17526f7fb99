"""What comes back from Converse and ConverseStream, read into the same typed events. Pure: no network, no botocore.

Here the stream's frames are read, and nowhere else.
"""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bedrock_chat.bedrock import faults
from bedrock_chat.bedrock.events import (
    Event,
    MessageStart,
    ReasoningDelta,
    ReasoningSignature,
    RedactedReasoning,
    Stop,
    StopReason,
    TextDelta,
    ToolUse,
    Usage,
)
from bedrock_chat.database.text import storable

# ---- Converse -------------------------------------------------------------------------------------------------------


def read_whole(response: dict[str, Any]) -> Iterator[Event]:
    """The events of a whole answer. Blocks and members that we do not know are left out."""
    yield MessageStart()
    tools = _ToolUses()
    for index, block in enumerate(response.get("output", {}).get("message", {}).get("content", ())):
        if text := block.get("text"):
            yield TextDelta(storable(text), index)
        elif use := block.get("toolUse"):
            yield from tools.complete(use.get("toolUseId", ""), use.get("name", ""), use.get("input", {}), index)
        elif reasoning := block.get("reasoningContent"):
            yield from _read_reasoning({**reasoning, **reasoning.get("reasoningText", {})}, index)
    if "stopReason" in response:
        yield tools.checked(Stop(response["stopReason"]))
    if usage := response.get("usage"):
        yield _usage(usage)


def _read_reasoning(part: dict[str, Any], index: int) -> Iterator[Event]:
    """A union of `text`, `signature` and `redactedContent`: all of a block, or one of its deltas."""
    if text := part.get("text"):
        yield ReasoningDelta(storable(text), index)
    if signature := part.get("signature"):
        yield ReasoningSignature(signature, index)
    if redacted := part.get("redactedContent"):
        # botocore's parser has decoded a blob; in the frames of a stream it is still base64.
        yield RedactedReasoning(base64.b64decode(redacted) if isinstance(redacted, str) else redacted, index)


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        usage.get("inputTokens", 0),
        usage.get("outputTokens", 0),
        usage.get("cacheReadInputTokens", 0),
        usage.get("cacheWriteInputTokens", 0),
    )


# ---- ConverseStream -------------------------------------------------------------------------------------------------


def read_stream(frames: Iterable[Any], token: Callable[[], None]) -> Iterator[Event]:
    """The events of a stream, which is read to its end so that its connection can serve again.

    Text and reasoning blocks open with their first delta; only a tool use has a start of its own. Frames, blocks and
    deltas that we do not know are left out. `token` is told of each piece of content as it comes.
    """
    tools = _ToolUses()
    for frame in frames:
        if part := frame.get("contentBlockDelta"):
            index, delta = part.get("contentBlockIndex", 0), part.get("delta", {})
            if text := delta.get("text"):
                token()
                yield TextDelta(storable(text), index)
            elif use := delta.get("toolUse"):
                tools.add(index, use.get("input", ""))
            elif reasoning := delta.get("reasoningContent"):
                token()
                yield from _read_reasoning(reasoning, index)
        elif part := frame.get("contentBlockStart"):
            if use := part.get("start", {}).get("toolUse"):
                token()
                tools.begin(part.get("contentBlockIndex", 0), use.get("toolUseId", ""), use.get("name", ""))
        elif "contentBlockStop" in frame:
            yield from tools.end(frame["contentBlockStop"].get("contentBlockIndex", 0))
        elif "messageStart" in frame:
            yield MessageStart()
        elif "messageStop" in frame:
            yield tools.checked(Stop(frame["messageStop"].get("stopReason", "")))
        elif usage := frame.get("metadata", {}).get("usage"):
            yield _usage(usage)


# ---- Both -----------------------------------------------------------------------------------------------------------


class _ToolUses:
    """The tool uses of an answer; in a stream their input comes as fragments of a JSON text.

    An input that is no JSON object is what `max_tokens` leaves of a tool use: it is dropped, and the text beside it is
    kept. Where the answer stops *for* the tool, the turn cannot go on without it, and no tool runs on a guess: a fault.
    """

    def __init__(self) -> None:
        self._open: dict[int, tuple[str, str, list[str]]] = {}
        self._broken = False

    def begin(self, index: int, tool_use_id: str, name: str) -> None:
        self._open[index] = (tool_use_id, name, [])

    def add(self, index: int, fragment: str) -> None:
        if index in self._open:
            self._open[index][2].append(fragment)

    def end(self, index: int) -> Iterator[ToolUse]:
        if index in self._open:
            tool_use_id, name, fragments = self._open.pop(index)
            try:
                given = json.loads("".join(fragments) or "{}")
            except (ValueError, RecursionError):
                given = None
            yield from self.complete(tool_use_id, name, given, index)

    def complete(self, tool_use_id: str, name: str, given: Any, index: int) -> Iterator[ToolUse]:
        if tool_use_id and name and isinstance(given, dict):
            yield ToolUse(tool_use_id, name, storable(given), index)
        else:
            self._broken = True

    def checked(self, stop: Stop) -> Stop:
        if stop.stop_reason == StopReason.TOOL_USE and (self._broken or self._open):
            raise faults.MalformedToolUse
        return stop
