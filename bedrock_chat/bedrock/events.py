"""What a model says, as typed events: the same for `Converse` and `ConverseStream`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bedrock_chat.bedrock.shapes import ConverseBlock


class StopReason(StrEnum):
    """Why an answer ended: those of Bedrock's words that we act on, and two of our own. Others are kept as text."""

    MAX_TOKENS = "max_tokens"
    TOOL_USE = "tool_use"
    STOPPED = "stopped"
    """Ours: its user did not want more."""
    INTERRUPTED = "interrupted"
    """Ours: a fault, a crash or a shutdown cut it."""


@dataclass(frozen=True, slots=True)
class MessageStart:
    """The model has begun to answer."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text that joins the content block of that index."""

    text: str
    block: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """What the model thinks before it answers, in the clear."""

    text: str
    block: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningSignature:
    """Closes the reasoning text of the same block; it goes back to the model unmodified."""

    signature: str
    block: int = 0


@dataclass(frozen=True, slots=True)
class RedactedReasoning:
    """Reasoning that the vendor encrypted; it goes back to the model as it is."""

    data: bytes
    block: int = 0


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A complete request for a tool; the fragments of its input are joined and parsed."""

    tool_use_id: str
    name: str
    input: dict[str, Any]
    block: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `input_tokens` excludes those read from or written to the prompt cache (Converse's `TokenUsage`)."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """Bedrock's word for why the answer ended; words we do not know are kept."""

    stop_reason: str


@dataclass(frozen=True, slots=True)
class Retrying:
    """Bedrock refused for now; the next try is that many seconds away."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of every call that succeeded.

    `usage` is None where Bedrock never sent it. Times are milliseconds since the call was asked for, waits between
    tries included; `first_token_ms` is None where nothing came piece by piece.
    """

    usage: Usage | None
    stop_reason: str
    latency_ms: int
    first_token_ms: int | None


Event = (
    MessageStart
    | TextDelta
    | ReasoningDelta
    | ReasoningSignature
    | RedactedReasoning
    | ToolUse
    | Usage
    | Stop
    | Retrying
    | Closed
)


@dataclass(slots=True)
class _Block:
    """A content block that grows. `pieces` are texts, or the bytes of redacted reasoning."""

    kind: str
    index: int
    pieces: list[Any]
    signature: str = ""

    def folded(self) -> ConverseBlock | None:
        match self.kind:
            case "text":
                text = "".join(self.pieces)
                return {"text": text} if text else None  # Bedrock refuses an empty text when it is sent back
            case "reasoning":
                signature = {"signature": self.signature} if self.signature else {}
                return {"reasoningContent": {"reasoningText": {"text": "".join(self.pieces), **signature}}}
            case "redacted":
                return {"reasoningContent": {"redactedContent": b"".join(self.pieces)}}
        use: ToolUse = self.pieces[0]
        return {"toolUse": {"toolUseId": use.tool_use_id, "name": use.name, "input": use.input}}


class AnswerBuilder:
    """Folds events into Converse content blocks, in the order in which they came.

    Neighbouring parts of one kind and one `block` make one block; text after reasoning or a tool use is a new one. One
    thread feeds it, and others may ask for the blocks meanwhile; `revision` tells them whether there is news.
    """

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self.revision = 0

    def feed(self, event: Event) -> None:
        if type(event) is TextDelta:  # nearly all events, so not by way of `match`
            self._at("text", event.block).pieces.append(event.text)
        else:
            self._feed_other(event)
        self.revision += 1  # last: whoever sees the number sees what it stands for

    def _feed_other(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text, block):
                self._at("reasoning", block).pieces.append(text)
            case ReasoningSignature(signature, block):
                self._at("reasoning", block).signature += signature
            case RedactedReasoning(data, block):
                self._at("redacted", block).pieces.append(data)
            case ToolUse():
                self._blocks.append(_Block("tool", event.block, [event]))

    def _at(self, kind: str, index: int) -> _Block:
        if not self._blocks or (self._blocks[-1].kind, self._blocks[-1].index) != (kind, index):
            self._blocks.append(_Block(kind, index, []))
        return self._blocks[-1]

    def has_text(self) -> bool:
        return any("".join(block.pieces).strip() for block in self._blocks if block.kind == "text")

    def blocks(self) -> list[ConverseBlock]:
        """Converse content blocks so far; text that never came is left out."""
        return [folded for block in self._blocks if (folded := block.folded()) is not None]
