"""A chat completion as it is written: OpenAI's chunks, as Server-Sent Events without names."""

import contextlib
import contextvars
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from typing import Final

from bedrock_chat.bedrock.events import Event, Retrying, TextDelta
from bedrock_chat.database.connections import release_connection
from bedrock_chat.process import thread_pool
from bedrock_chat.wire.errors import recorded
from bedrock_chat.wire.event_stream import KEEP_ALIVE, EventStreamResponse, data
from bedrock_chat.wire.renderers import dumps
from conversations.streaming import sse
from conversations.streaming.events import Failed, MessageStop, StreamEvent, joined
from conversations.streaming.log import Batch, Log
from publication.openai import answering, errors, rendering
from publication.openai.answering import Completion
from publication.openai.rendering import Wire
from publication.openai.requests import ChatRequest

DONE: Final = b"data: [DONE]\n\n"


class CompletionResponse(EventStreamResponse):
    """A stream that ends its call when it is closed: after its end, or because the client has left."""

    def __init__(self, running: Completion, events: AsyncIterator[bytes]) -> None:
        super().__init__(events)
        self._running = running

    def close(self) -> None:
        self._running.stop()
        super().close()


def respond(chat: ChatRequest, running: Completion) -> CompletionResponse:
    """Begins a chat completion, and returns the response that streams it.

    The calling thread runs it up to the first event of the model, so that whatever is refused, here or by Bedrock, is
    an error with its status, which clients know when to repeat. A thread of its own does the rest. `running.listener`
    is its log.
    """
    log = running.listener
    assert isinstance(log, Log)
    events = answering.run(chat, running)
    for event in events:
        if not isinstance(event, Retrying):
            _append(log, event)
            break
    context = contextvars.copy_context()  # what the call binds is to appear in the log line of the request
    thread_pool.shared().submit(lambda: context.run(_drive, events, log))
    chunks = Chunks(running.head(rendering.CHUNK), include_usage=chat.include_usage)
    return CompletionResponse(running, _followed(log, chunks))


def respond_again(completion: Wire, *, include_usage: bool) -> EventStreamResponse:
    """The response that streams a chat completion which was answered before, as one piece."""
    head = {**{name: completion[name] for name in ("id", "created", "model")}, "object": rendering.CHUNK}
    return EventStreamResponse(_at_once(completion, Chunks(head, include_usage=include_usage)))


async def _at_once(completion: Wire, chunks: "Chunks") -> AsyncGenerator[bytes, None]:
    [choice] = completion["choices"]
    text = choice["message"]["content"]
    with sse.counted():
        yield chunks.first() + (chunks.text(text) if text else b"")
        yield chunks.last(choice["finish_reason"], completion["usage"])


def _append(log: Log, event: Event | MessageStop) -> None:
    if type(event) is TextDelta or type(event) is MessageStop:
        log.append(event)


def _drive(events: Iterator[Event | MessageStop], log: Log) -> None:
    """Runs a chat completion to its end, and appends its events to the log."""
    try:
        for event in events:
            _append(log, event)
    except Exception as error:  # noqa: BLE001  the client gets it as an event; it is logged if the fault is ours
        log.append(Failed.of(recorded(error)))
    finally:
        release_connection()


async def _followed(log: Log, chunks: "Chunks") -> AsyncGenerator[bytes, None]:
    """The bytes of the stream."""
    with sse.counted():
        yield chunks.first()
        async with contextlib.aclosing(log.follow()) as batches:
            async for batch in batches:
                yield chunks.encode(batch)


class Chunks:
    """Encodes one stream. Nearly all chunks differ in their text alone, so the rest is encoded once."""

    def __init__(self, head: Wire, *, include_usage: bool) -> None:
        self._head = head
        self._include_usage = include_usage
        usage = b',"usage":null' if include_usage else b""
        self._before = b"data: " + dumps(head)[:-1] + b',"choices":[{"index":0,"delta":'
        self._unfinished = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._finished = b',"logprobs":null,"finish_reason":"%s"}]' + usage + b"}\n\n"

    def first(self) -> bytes:
        return self._before + b'{"role":"assistant","content":""}' + self._unfinished

    def text(self, text: str) -> bytes:
        return self._before + b'{"content":' + dumps(text) + b"}" + self._unfinished

    def last(self, finish_reason: str, usage: Wire) -> bytes:
        """The end of an answer that is complete."""
        last = self._before + b"{}" + self._finished % finish_reason.encode()
        if self._include_usage:
            last += data({**self._head, "choices": [], "usage": usage})
        return last + DONE

    def encode(self, batch: Batch) -> bytes:
        """The bytes of a batch; a comment for an empty one."""
        position, events = batch
        return b"".join(self._event(event) for _, event in joined(position, events)) or KEEP_ALIVE

    def _event(self, event: StreamEvent) -> bytes:
        match event:
            case TextDelta(text):
                return self.text(text)
            case MessageStop(stop_reason=stop_reason, spent=spent):
                return self.last(rendering.finish_reason(stop_reason), rendering.usage(spent))
            case Failed(body, status):
                return data(errors.shaped(status, body))
        return b""
