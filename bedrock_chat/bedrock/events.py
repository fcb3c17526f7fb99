"""A model's answer as typed events, the same for `Converse` and `ConverseStream`."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bedrock_chat.bedrock.shapes import ConverseBlock


class StopReason(StrEnum):
    """Why an answer ended: the values of Bedrock on which we act, and two of our own. Other values are kept as text."""

    MAX_TOKENS = "max_tokens"
    END_TURN = "end_turn"
    TOOL_USE = "tool_use"
    GUARDRAIL_INTERVENED = "guardrail_intervened"
    """A guardrail blocked the question or the answer; its sentence stands in the answer's place."""
    STOPPED = "stopped"
    """Ours: the user stopped the answer."""
    INTERRUPTED = "interrupted"
    """Ours: a fault, a crash or a shutdown cut the answer short."""
    TOOL_LIMIT = "tool_limit"
    """Ours: the model was asked to answer without further tools, because the turn had used as many as it may."""


@dataclass(frozen=True, slots=True)
class MessageStart:
    """The model has begun to answer."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """Text to append to the content block with the index `block`."""

    text: str
    block: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """Readable text of what the model thinks before it answers."""

    text: str
    block: int = 0


@dataclass(frozen=True, slots=True)
class ReasoningSignature:
    """Ends the reasoning text of the same block. It must be sent back to the model unmodified."""

    signature: str
    block: int = 0


@dataclass(frozen=True, slots=True)
class RedactedReasoning:
    """Reasoning that the vendor encrypted. It must be sent back to the model as it is."""

    data: bytes
    block: int = 0


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A model's complete request to run a tool. The fragments of the input have been joined and parsed.

    `is_broken`: they were no JSON object, and `input` is an empty one in its place. No tool runs on that.
    """

    tool_use_id: str
    name: str
    input: dict[str, Any]
    block: int = 0
    is_broken: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens. `input_tokens` excludes those read from or written to the prompt cache (Converse's `TokenUsage`)."""

    input_tokens: int
    output_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """Bedrock's value for why the answer ended. Values that we do not know are kept."""

    stop_reason: str


@dataclass(frozen=True, slots=True)
class Intervened:
    """A guardrail blocked the `question` or the `answer` (`of`), because of such content. The runtime logs it."""

    of: str
    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Retrying:
    """Bedrock refused for now. The next try comes after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Closed:
    """The last event of every call that succeeded.

    `usage` is None if Bedrock never sent it. Times are milliseconds since the call began, and include waits between
    tries. `first_token_ms` is None if the answer did not come piece by piece.
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
    | Intervened
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
        """The Converse content block, or None for a text that is empty."""
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
    """Folds events into Converse content blocks, in the order in which the events came.

    Adjacent events of the same kind and the same `block` make one block; text after reasoning or a tool use begins a
    new one. One thread feeds the builder. Other threads may read the blocks meanwhile, and `revision` grows with every
    event, so they see whether there are new ones.
    """

    def __init__(self, revision: int = 0) -> None:
        self._blocks: list[_Block] = []
        self.revision = revision

    def feed(self, event: Event) -> None:
        if type(event) is TextDelta:  # nearly all events are text, and this is faster than `match`
            self._block("text", event.block).pieces.append(event.text)
        else:
            self._feed_other(event)
        self.revision += 1  # last, so that a thread that reads the new number also reads the new blocks

    def _feed_other(self, event: Event) -> None:
        match event:
            case ReasoningDelta(text, block):
                self._block("reasoning", block).pieces.append(text)
            case ReasoningSignature(signature, block):
                self._block("reasoning", block).signature += signature
            case RedactedReasoning(data, block):
                self._block("redacted", block).pieces.append(data)
            case ToolUse():
                self._blocks.append(_Block("tool", event.block, [event]))

    def _block(self, kind: str, index: int) -> _Block:
        """The last block if it has this kind and index, else a new one."""
        if not self._blocks or (self._blocks[-1].kind, self._blocks[-1].index) != (kind, index):
            self._blocks.append(_Block(kind, index, []))
        return self._blocks[-1]

    def has_text(self) -> bool:
        return any("".join(block.pieces).strip() for block in self._blocks if block.kind == "text")

    def drop_tool_uses(self) -> None:
        """Takes the tool uses out: none of them runs."""
        self._blocks = [block for block in self._blocks if block.kind != "tool"]
        self.revision += 1

    def blocks(self) -> list[ConverseBlock]:
        """The Converse content blocks so far, without empty texts."""
        return [folded for block in self._blocks if (folded := block.folded()) is not None]
