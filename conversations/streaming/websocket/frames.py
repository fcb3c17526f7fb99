"""Makes the frames that existing frontends read from the events of a turn."""

from collections.abc import Iterator

from bedrock_chat.bedrock.events import ReasoningDelta, TextDelta, ToolUse
from bedrock_chat.bedrock.tools import FoundDocument, ToolResult
from bedrock_chat.wire.renderers import dumps
from conversations.streaming.events import Failed, MessageStop, StreamEvent, encoded

MESSAGE_SENT = "Message sent."


def frames_of(event: StreamEvent) -> Iterator[str]:
    """The frames that the frontend gets for an event; none for an event that it does not know."""
    match event:
        case TextDelta(text):
            yield _frame(status="STREAMING", completion=text)
        case ReasoningDelta(text):
            yield _frame(status="REASONING", completion=text)
        case ToolUse():
            yield _frame(status="AGENT_THINKING", log={event.tool_use_id: {"name": event.name, "input": event.input}})
        case ToolResult():
            yield _frame(status="AGENT_TOOL_RESULT", result=encoded(event)[1])
        case FoundDocument():
            yield _frame(status="AGENT_RELATED_DOCUMENT", result=encoded(event)[1])
        case MessageStop():
            yield _streaming_end(event)
            yield MESSAGE_SENT
        case Failed():
            yield error(event.body["detail"])


def _streaming_end(event: MessageStop) -> str:
    spent = event.spent
    return _frame(
        status="STREAMING_END",
        completion="",
        stop_reason=event.stop_reason,
        token_count={
            "input": spent.input_tokens if spent else 0,
            "output": spent.output_tokens if spent else 0,
            "cache_read_input": spent.cache_read_tokens if spent else 0,
            "cache_write_input": spent.cache_write_tokens if spent else 0,
        },
        price=None if spent is None or spent.price is None else float(spent.price),
    )


def error(reason: str) -> str:
    """The last frame if there is no answer. `reason` is one sentence."""
    return _frame(status="ERROR", reason=reason)


def _frame(**members: object) -> str:
    return dumps(members).decode()
