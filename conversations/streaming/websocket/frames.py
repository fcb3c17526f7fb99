"""The frames that existing frontends read, made of the pieces of a turn."""

import contextlib
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from bedrock_chat.serving.sending import AsgiMessage
from bedrock_chat.wire.renderers import dumps
from conversations.streaming.events import Piece, joined
from conversations.streaming.log import Batch

MESSAGE_SENT = "Message sent."


async def messages(
    batches: AsyncGenerator[Batch, None], told: Callable[[Piece], object]
) -> AsyncGenerator[AsgiMessage, None]:
    """The frames of a turn, as ASGI sends them; `told` hears of each piece before it is sent."""
    async with contextlib.aclosing(batches):
        async for first, batch in batches:
            for _, kind, data in joined(first, batch):
                told((kind, data))
                for text in frames_of(kind, data):
                    yield {"type": "websocket.send", "text": text}


def frames_of(kind: str, data: Any) -> Iterator[str]:
    """What the frontend is sent of a piece: nothing of what it does not know."""
    match kind:
        case "text":
            yield dumps({"status": "STREAMING", "completion": data}).decode()
        case "reasoning":
            yield dumps({"status": "REASONING", "completion": data}).decode()
        case "tool_use":
            log = {data["toolUseId"]: {"name": data["name"], "input": data["input"]}}
            yield dumps({"status": "AGENT_THINKING", "log": log}).decode()
        case "tool_result":
            yield dumps({"status": "AGENT_TOOL_RESULT", "result": data}).decode()
        case "related_document":
            yield dumps({"status": "AGENT_RELATED_DOCUMENT", "result": data}).decode()
        case "message_stop":
            yield dumps(_streaming_end(data)).decode()
            yield MESSAGE_SENT
        case "error":
            yield error(data["detail"])


def _streaming_end(data: dict[str, Any]) -> dict[str, Any]:
    usage = data["usage"] or {}
    return {
        "status": "STREAMING_END",
        "completion": "",
        "stop_reason": data["stopReason"],
        "token_count": {
            "input": usage.get("inputTokens", 0),
            "output": usage.get("outputTokens", 0),
            "cache_read_input": usage.get("cacheReadInputTokens", 0),
            "cache_write_input": usage.get("cacheWriteInputTokens", 0),
        },
        "price": data["price"],
    }


def error(reason: str) -> str:
    """The last word where there is no answer: one sentence."""
    return dumps({"status": "ERROR", "reason": reason}).decode()
