"""Server-Sent Events as in the WHATWG's standard: the format, its headers, and its place in content negotiation."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

from django.http import StreamingHttpResponse
from rest_framework.renderers import BaseRenderer

from bedrock_chat.wire.renderers import dumps

EVENT_STREAM = "text/event-stream"
KEEP_ALIVE = b": keep-alive\n\n"


def event(name: str, data: Any, event_id: str | None = None) -> bytes:
    """One event. Its data is JSON, which has no line breaks of its own."""
    head = f"id: {event_id}\nevent: {name}\ndata: " if event_id else f"event: {name}\ndata: "
    return head.encode() + dumps(data) + b"\n\n"


def data(value: Any) -> bytes:
    """An event without a name. Its data is JSON."""
    return b"data: " + dumps(value) + b"\n\n"


class EventStreamResponse(StreamingHttpResponse):
    """A response that no proxy may buffer, keep, or change. Compressing gathers events before it sends any."""

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        super().__init__(
            events,
            content_type=EVENT_STREAM,
            headers={"Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no"},
        )


class EventStreamRenderer(BaseRenderer):
    """Stands among the renderers of a view that can stream, so that `Accept: text/event-stream` chooses it.

    It renders nothing: the view returns an EventStreamResponse, and its errors are JSON.
    """

    media_type = EVENT_STREAM
    format = "event-stream"
    charset = None

    def render(
        self, data: Any, accepted_media_type: str | None = None, renderer_context: Mapping[str, Any] | None = None
    ) -> bytes:
        return event("message", data)
