"""The events of a turn that clients get, by whichever transport.

A turn's own events are passed on if clients know them: text, reasoning, tools. The events that begin or end a stream,
or are about the stream itself, are defined here. `encoded` gives the name and the JSON data of each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from bedrock_chat.bedrock import document_links
from bedrock_chat.bedrock.events import ReasoningDelta, Retrying, StopReason, TextDelta, ToolUse
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.recording import Spent
from bedrock_chat.wire.errors import ApiError, ServiceUnavailable, body_of
from conversations.access import Answer
from conversations.turn.types import Finished, TurnEvent, TurnOpened, wire_ids


@dataclass(frozen=True, slots=True)
class MessageStart:
    """The first event: the question's id, by which the turn is resumed and stopped, and the id that the answer gets.

    With `continued_text`, the events that follow have only the new text, to be appended to that one. The text is sent
    because the stored answer may already have some of the new text, from a checkpoint.
    """

    conversation_external_id: str
    question_external_id: str
    answer_external_id: str | None
    continued_text: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """Nothing comes for now, and later the answer, perhaps whole and not in pieces. `detail` is a sentence about it.

    `ids` are those of the question, where its client may not know them: it is resumed and stopped by them.
    """

    detail: str
    ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Restart:
    """The process that wrote the answer is gone, and another one has begun it anew: what was told of it is void."""


@dataclass(frozen=True, slots=True)
class MessageStop:
    """The end of a turn whose rows are stored. `spent` is the sum of its calls; None if the ledger has none."""

    conversation_external_id: str
    question_external_id: str
    answer_external_id: str | None
    stop_reason: str
    spent: Spent | None
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, conversation_external_id: str, question_external_id: str, answer: Answer | None, calls: Sequence[ModelCall]
    ) -> Self:
        return cls(
            conversation_external_id,
            question_external_id,
            answer.external_id if answer else None,
            answer.stop_reason if answer else StopReason.STOPPED,
            Spent.of(calls),
            answer.warnings if answer else (),
        )


@dataclass(frozen=True, slots=True)
class Failed:
    """The end of a stream with an error: the body of a plain error, its status, and the seconds of its `Retry-After`.

    `resume` is True if the turn goes on and only this stream of it ends.
    """

    body: dict[str, Any]
    status: int
    retry_after: int | None = None
    resume: bool = False

    @classmethod
    def of(cls, error: ApiError, *, resume: bool = False) -> Self:
        after = error.headers.get("Retry-After")
        return cls(body_of(error), int(error.status_code), None if after is None else int(after), resume)

    @classmethod
    def leaving(cls) -> Self:
        """The last event when a process ends, or ends its part in a turn that goes on in another one."""
        sentence = "This server is shutting down; connect again."
        return cls.of(ServiceUnavailable(sentence, retry_after=1), resume=True)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An event of another process's turn. That process has encoded it already."""

    name: str
    data: dict[str, Any]


StreamEvent = (
    MessageStart
    | TextDelta
    | ReasoningDelta
    | ToolUse
    | ToolResult
    | FoundDocument
    | Retrying
    | Waiting
    | Restart
    | MessageStop
    | Failed
    | Encoded
)

MESSAGE_START = "message_start"
TEXT = "text"
REASONING = "reasoning"
TOOL_USE = "tool_use"
TOOL_RESULT = "tool_result"
RELATED_DOCUMENT = "related_document"
RETRYING = "retrying"
WAITING = "waiting"
RESTART = "restart"
MESSAGE_STOP = "message_stop"
ERROR = "error"

RESTART_SENTENCE = "The answer is written anew; forget what you have of it."

LAST = frozenset({MESSAGE_STOP, ERROR})
"""Every stream ends with one of these."""


def is_last(event: StreamEvent) -> bool:
    return isinstance(event, MessageStop | Failed) or (isinstance(event, Encoded) and event.name in LAST)


def goes_on(event: StreamEvent) -> bool:
    """Whether only this stream of a turn ends with the event, and the turn goes on."""
    match event:
        case Failed():
            return event.resume
        case Encoded(name, data):
            return name == ERROR and data.get("resume") is True
    return False


# ---- From a turn ----------------------------------------------------------------------------------------------------


def stream_event_of(event: TurnEvent, opened: TurnOpened) -> StreamEvent | None:
    """What clients get of an event of the turn that began with `opened`; None if they get nothing.

    Called by the turn's thread, which may wait for AWS (`openable`).
    """
    if type(event) is TextDelta:  # nearly all events
        return event
    match event:
        case FoundDocument():
            return openable(event)
        case ReasoningDelta() | ToolUse() | ToolResult() | Retrying():
            return event
        case Finished():
            ids = opened.conversation_external_id, opened.question_external_id
            return MessageStop.of(*ids, event.answer, event.calls)
    return None


def openable(document: FoundDocument) -> FoundDocument:
    """The document at an address that its reader can open for a while. The database connection may be released.

    Not to be called on an event loop: the first address that is signed may wait for credentials.
    """
    if not document_links.is_in_s3(document.source_link):
        return document
    release_connection()
    return replace(document, source_link=document_links.readable(document.source_link))


def joined(first: int, batch: Sequence[StreamEvent]) -> Iterator[tuple[int, StreamEvent]]:
    """The events of a log from position `first` on, each with the position after it. Adjacent texts become one."""
    position, last = first, len(batch) - 1
    gathered: list[str] = []
    for index, event in enumerate(batch):
        position += 1
        if not isinstance(event, TextDelta | ReasoningDelta):
            yield position, event
        elif index < last and type(batch[index + 1]) is type(event):
            gathered.append(event.text)
        elif gathered:
            yield position, type(event)("".join(gathered) + event.text)
            gathered = []
        else:
            yield position, event


# ---- As JSON --------------------------------------------------------------------------------------------------------


def encoded(event: StreamEvent) -> tuple[str, dict[str, Any]]:
    """The event's name and its data."""
    match event:
        case TextDelta(text):
            return TEXT, {"text": text}
        case ReasoningDelta(text):
            return REASONING, {"text": text}
        case ToolUse():
            return TOOL_USE, {"toolUseId": event.tool_use_id, "name": event.name, "input": event.input}
        case ToolResult():
            return TOOL_RESULT, {"toolUseId": event.tool_use_id, "status": event.status}
        case FoundDocument():
            return RELATED_DOCUMENT, {"toolUseId": event.tool_use_id, "relatedDocument": _document(event)}
        case Retrying(seconds):
            return RETRYING, {"seconds": round(seconds, 1)}
        case Waiting(detail, ids):
            return WAITING, {"detail": detail, **ids}
        case Restart():
            return RESTART, {"detail": RESTART_SENTENCE}
        case MessageStart():
            return MESSAGE_START, _message_start(event)
        case MessageStop():
            return MESSAGE_STOP, _message_stop(event)
        case Failed():
            return ERROR, _error(event)
        case Encoded(name, data):
            return name, data


def decoded(name: str, data: dict[str, Any]) -> StreamEvent:
    """The event with this name and data. Texts become deltas again, so that they can be joined."""
    match name:
        case "text":
            return TextDelta(data["text"])
        case "reasoning":
            return ReasoningDelta(data["text"])
    return Encoded(name, data)


def _message_start(event: MessageStart) -> dict[str, Any]:
    return {
        **wire_ids(event.conversation_external_id, event.question_external_id),
        "answerId": event.answer_external_id,
        "continues": event.continued_text is not None,
        **({} if event.continued_text is None else {"continuedText": event.continued_text}),
    }


def _message_stop(event: MessageStop) -> dict[str, Any]:
    spent = event.spent
    usage = spent and {
        "inputTokens": spent.input_tokens,
        "outputTokens": spent.output_tokens,
        "cacheReadInputTokens": spent.cache_read_tokens,
        "cacheWriteInputTokens": spent.cache_write_tokens,
        "estimated": spent.estimated,
    }
    return {
        **wire_ids(event.conversation_external_id, event.question_external_id),
        "answerId": event.answer_external_id,
        "stopReason": event.stop_reason,
        "usage": usage,
        "price": None if spent is None or spent.price is None else float(spent.price),
        **({"warnings": list(event.warnings)} if event.warnings else {}),
    }


def _error(event: Failed) -> dict[str, Any]:
    after = {} if event.retry_after is None else {"retryAfter": event.retry_after}
    return {**event.body, "status": event.status, **({"resume": True} if event.resume else {}), **after}


def _document(document: FoundDocument) -> dict[str, Any]:
    return {
        "content": document.content,
        "sourceId": document.source_id,
        "sourceName": document.source_name,
        "sourceLink": document.source_link,
        "pageNumber": document.page_number,
    }
