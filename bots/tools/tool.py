"""The one interface of all kinds of tools: what a tool is, what it may know while it runs, and what it gives.

Nothing here knows of conversations. The ids of a call, which the model has made up, are put into a result afterwards
(`results.identified`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from bedrock_chat.bedrock.tools import FoundDocument, ToolSpec
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.process.interruption import Interruption

if TYPE_CHECKING:
    from bots.chatting import ChattingBot

Kind = Literal["knowledge", "internet", "bedrock_agent"]
Outcome = Literal[
    "success", "input", "settings", "denied", "throttled", "missing", "empty", "busy", "timeout", "unreachable",
    "too_large", "unreadable", "stopped", "failed",
]  # fmt: skip
"""How a call ended, in one word, for the ledger and the metrics. All but `success` are errors."""


STOPPED: Final = "The call was stopped."


@dataclass(frozen=True, slots=True)
class TextPart:
    text: str


@dataclass(frozen=True, slots=True)
class JsonPart:
    """An object: Converse takes no other JSON in a result."""

    value: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FilePart:
    """An image or a document. `form` is Converse's name of its format; an image has no name."""

    kind: Literal["image", "document"]
    form: str
    body: bytes
    name: str = ""


Part = TextPart | JsonPart | FilePart


@dataclass(frozen=True, slots=True)
class Context:
    """What a tool may know while it runs.

    `deadline` is a moment of `time.monotonic()`, after which the call is over. `interruption` is the call's own: a stop
    or the end of the process turns it on.

    What a tool spends on models is booked with `message_external_id` and `turn_id`, and told to `note_call`. The result
    is read by a model with a window of `context_window` tokens, as far as that is known.
    """

    deadline: float
    interruption: Interruption
    caller: Caller
    bot: "ChattingBot"
    conversation_external_id: str
    message_external_id: str = ""
    turn_id: str | None = None
    context_window: int | None = None
    note_call: Callable[[ModelCall], None] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a call has given, cleaned and bounded (`results`): at least one part.

    The first `documents` belong to the parts, one to each, and tell whence it came; the others belong to the whole.
    Their `tool_use_id` and `source_id` are empty until `results.identified`.
    """

    status: Literal["success", "error"]
    parts: tuple[Part, ...]
    documents: tuple[FoundDocument, ...] = ()
    outcome: Outcome = "success"


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool as a bot offers it to a model.

    `alias` is the name by which the model calls it. `server` names whom it talks to: calls at once and breakers are
    counted by it. `seconds` bounds a call, None: by `TOOL_SECONDS`. `run` takes an input that `schemas.check_input` has
    let pass, and raises nothing: what goes wrong is an error result. It holds no pooled connection while it talks.
    `is_interruptible`: `run` ends within a moment when its call is ended. That of another tool runs on a thread of its
    own, and is left to itself then.
    """

    alias: str
    description: str
    schema: Mapping[str, Any]
    kind: Kind
    is_read_only: bool
    server: str
    seconds: int | None
    run: Callable[[Mapping[str, Any], Context], Result]
    is_interruptible: bool = True

    @property
    def spec(self) -> ToolSpec:
        return ToolSpec(self.alias, self.description, self.schema)


class ToolFault(Exception):
    """Why a call gave nothing. `sentence` is read by the model and by the user: it is ours, and quotes no error.

    `counts`: whether the server behind it seems to be away, which its breaker counts.
    """

    def __init__(self, sentence: str, outcome: Outcome, *, counts: bool = False) -> None:
        super().__init__(outcome)
        self.sentence = sentence
        self.outcome: Outcome = outcome
        self.counts = counts
