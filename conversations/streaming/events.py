"""What a client is told of a turn, whatever it listens by: typed pieces, made from the turn's events.

A piece is a kind and its data: a string for `text` and `reasoning`, which come in great numbers and are joined at
will; for every other kind the JSON object that an SSE client gets.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from bedrock_chat.bedrock.events import ReasoningDelta, Retrying, StopReason, TextDelta, ToolUse
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.recording import Spent
from bedrock_chat.wire.errors import ApiError, body_of
from conversations.turn.types import Answer, Finished, TurnEvent, TurnOpened

Piece = tuple[str, Any]

MESSAGE_START = "message_start"
TEXT = "text"
REASONING = "reasoning"
TOOL_USE = "tool_use"
TOOL_RESULT = "tool_result"
RELATED_DOCUMENT = "related_document"
RETRYING = "retrying"
WAITING = "waiting"
MESSAGE_STOP = "message_stop"
ERROR = "error"

LAST = frozenset({MESSAGE_STOP, ERROR})
"""One of these ends every stream."""
JOINED = frozenset({TEXT, REASONING})


def piece_of(event: TurnEvent, start: TurnOpened) -> Piece | None:
    """The piece of an event of the turn that opened with `start`; None where clients are told nothing."""
    if type(event) is TextDelta:  # nearly all of them
        return TEXT, event.text
    match event:
        case ReasoningDelta(text):
            return REASONING, text
        case ToolUse():
            return TOOL_USE, {"toolUseId": event.tool_use_id, "name": event.name, "input": event.input}
        case ToolResult():
            return TOOL_RESULT, {"toolUseId": event.tool_use_id, "status": event.status}
        case FoundDocument():
            return RELATED_DOCUMENT, {"toolUseId": event.tool_use_id, "relatedDocument": _document(event)}
        case Retrying(seconds):
            return RETRYING, {"seconds": round(seconds, 1)}
        case Finished():
            return stopped(start.conversation_external_id, start.question_external_id, event.answer, event.calls)
    return None


def started(
    conversation_external_id: str,
    question_external_id: str,
    answer_external_id: str | None,
    continued_text: str | None = None,
) -> Piece:
    """The first piece of a turn: the question's id, by which it is resumed and stopped, and the answer's to be.

    With `continued_text` only what joins that text is told. It is named because the stored answer may hold some of
    what is told already, by a checkpoint.
    """
    return MESSAGE_START, {
        "conversationId": conversation_external_id,
        "messageId": question_external_id,
        "answerId": answer_external_id,
        "continues": continued_text is not None,
        **({} if continued_text is None else {"continuedText": continued_text}),
    }


def stopped(
    conversation_external_id: str, question_external_id: str, answer: Answer | None, calls: Sequence[ModelCall]
) -> Piece:
    """The end of a turn whose rows exist. Usage and price are the sums of its calls; null where the ledger has none."""
    spent = Spent.of(calls)
    usage = spent and {
        "inputTokens": spent.input_tokens,
        "outputTokens": spent.output_tokens,
        "cacheReadInputTokens": spent.cache_read_tokens,
        "cacheWriteInputTokens": spent.cache_write_tokens,
        "estimated": spent.estimated,
    }
    return MESSAGE_STOP, {
        "conversationId": conversation_external_id,
        "messageId": question_external_id,
        "answerId": answer.external_id if answer else None,
        "stopReason": answer.stop_reason if answer else StopReason.STOPPED,
        "usage": usage,
        "price": None if spent is None or spent.price is None else float(spent.price),
    }


def failed(error: ApiError, *, resume: bool = False) -> Piece:
    """Like the body of a plain error, with its status, and the seconds of its `Retry-After` where it has one.

    `resume` where the turn goes on and only this stream of it ends.
    """
    told = {**body_of(error), "status": int(error.status_code), **({"resume": True} if resume else {})}
    if "Retry-After" in error.headers:
        told["retryAfter"] = int(error.headers["Retry-After"])
    return ERROR, told


def replayed(answer: Answer, calls: Sequence[ModelCall]) -> Iterator[Piece]:
    """A stored answer as one whole sequence."""
    yield started(answer.conversation_external_id, answer.question_external_id, answer.external_id)
    for block in answer.content:
        match block["contentType"]:
            case "text":
                yield TEXT, block["body"]
            case "reasoning" if block["text"]:
                yield REASONING, block["text"]
            case "toolUse":
                yield TOOL_USE, dict(block["body"])
    yield stopped(answer.conversation_external_id, answer.question_external_id, answer, calls)


def joined(first: int, batch: Sequence[Piece]) -> Iterator[tuple[int, str, Any]]:
    """Pieces of a log from its position `first` on, neighbouring texts in one: the position behind each, kind, data."""
    position, last = first, len(batch) - 1
    gathered: list[str] = []
    for index, (kind, data) in enumerate(batch):
        position += 1
        if kind not in JOINED:
            yield position, kind, data
        elif index < last and batch[index + 1][0] == kind:
            gathered.append(data)
        elif gathered:
            yield position, kind, "".join(gathered) + data
            gathered = []
        else:
            yield position, kind, data


def _document(found: FoundDocument) -> dict[str, Any]:
    return {
        "content": found.content,
        "sourceId": found.source_id,
        "sourceName": found.source_name,
        "sourceLink": found.source_link,
        "pageNumber": found.page_number,
    }
