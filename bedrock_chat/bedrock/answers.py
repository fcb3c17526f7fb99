"""Reads the answers of Converse and of ConverseStream into the same typed events. Pure: no network, no botocore.

No other module reads the frames of a stream.
"""

import base64
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from bedrock_chat.bedrock import faults
from bedrock_chat.bedrock.events import (
    Event,
    Intervened,
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
    """The events of a whole answer, in which a member that is null is not there. Unknown blocks and members are left
    out. Raises MalformedToolUse.
    """
    yield MessageStart()
    tools = _ToolUses()
    message = (response.get("output") or {}).get("message") or {}
    for index, block in enumerate(message.get("content") or ()):
        if text := block.get("text"):
            yield TextDelta(storable(text), index)
        elif use := block.get("toolUse"):
            value = use.get("input")
            value = {} if value is None else value
            yield from tools.complete(use.get("toolUseId") or "", use.get("name") or "", value, index)
        elif reasoning := block.get("reasoningContent"):
            yield from _read_reasoning({**reasoning, **(reasoning.get("reasoningText") or {})}, index)
    if (stop_reason := response.get("stopReason")) is not None:
        yield tools.checked(Stop(stop_reason))
    yield from _read_trace(response)
    if usage := response.get("usage"):
        yield _usage(usage)


def _read_reasoning(part: dict[str, Any], index: int) -> Iterator[Event]:
    """The events of a whole reasoning block, or of one delta, which has only one of its members."""
    if text := part.get("text"):
        yield ReasoningDelta(storable(text), index)
    if signature := part.get("signature"):
        yield ReasoningSignature(signature, index)
    if redacted := part.get("redactedContent"):
        # In JSON that we read ourselves the blob is base64 text; botocore's parser has decoded it to bytes.
        yield RedactedReasoning(base64.b64decode(redacted) if isinstance(redacted, str) else redacted, index)


def _usage(usage: dict[str, Any]) -> Usage:
    return Usage(
        usage.get("inputTokens") or 0,
        usage.get("outputTokens") or 0,
        usage.get("cacheReadInputTokens") or 0,
        usage.get("cacheWriteInputTokens") or 0,
    )


# ---- ConverseStream -------------------------------------------------------------------------------------------------


def read_stream(frames: Iterable[Any], token: Callable[[], None]) -> Iterator[Event]:
    """The events of a stream. It is read to its end, so that its connection can serve another call.

    A text or reasoning block begins with its first delta; only a tool use has a start frame. Unknown frames, blocks and
    deltas are left out. `token` is called when text, reasoning or a tool use arrives. Raises MalformedToolUse.
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
        elif metadata := frame.get("metadata"):
            yield from _read_trace(metadata)
            if usage := metadata.get("usage"):
                yield _usage(usage)


# ---- Both -----------------------------------------------------------------------------------------------------------


def _read_trace(part: dict[str, Any]) -> Iterator[Intervened]:
    """What a guardrail blocked, without the words that it found: its trace quotes people."""
    trace = (part.get("trace") or {}).get("guardrail") or {}
    of_question = list((trace.get("inputAssessment") or {}).values())
    of_answer = itertools.chain.from_iterable((trace.get("outputAssessments") or {}).values())
    for side, assessments in (("question", of_question), ("answer", of_answer)):
        kinds = {
            str(finding.get("type") or policy)
            for assessment in assessments
            for policy, findings in assessment.items()
            if isinstance(findings, dict)
            for finding in itertools.chain.from_iterable(one for one in findings.values() if isinstance(one, list))
            if isinstance(finding, dict) and finding.get("action") == "BLOCKED"
        }
        if kinds:
            yield Intervened(side, tuple(sorted(kinds)))


class _ToolUses:
    """The tool uses of an answer. In a stream the input of a tool use comes as fragments of a JSON text.

    An input that is no JSON object makes a tool use that `is_broken`: no tool runs on a guessed one. Where `max_tokens`
    cuts an answer, whoever asked drops the tool uses. A tool use that began and never ended, in an answer that stopped
    in order to use it, is nothing that can be answered: `checked` raises MalformedToolUse.
    """

    def __init__(self) -> None:
        self._open: dict[int, tuple[str, str, list[str]]] = {}

    def begin(self, index: int, tool_use_id: str, name: str) -> None:
        self._open[index] = (tool_use_id, name, [])

    def add(self, index: int, fragment: str) -> None:
        if index in self._open:
            self._open[index][2].append(fragment)

    def end(self, index: int) -> Iterator[ToolUse]:
        if index in self._open:
            tool_use_id, name, fragments = self._open.pop(index)
            try:
                tool_input = json.loads("".join(fragments) or "{}")
            except (ValueError, RecursionError):
                tool_input = None
            yield from self.complete(tool_use_id, name, tool_input, index)

    def complete(self, tool_use_id: str, name: str, tool_input: Any, index: int) -> Iterator[ToolUse]:
        try:
            readable = storable(tool_input) if isinstance(tool_input, dict) else None
        except RecursionError:
            readable = None
        yield ToolUse(tool_use_id, storable(name), readable or {}, index, is_broken=readable is None)

    def checked(self, stop: Stop) -> Stop:
        if stop.stop_reason == StopReason.TOOL_USE and self._open:
            raise faults.MalformedToolUse
        return stop
