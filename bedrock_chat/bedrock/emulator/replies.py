"""Turns an answer into a Reply: the pieces of bytes to send, when to send each, and how the connection ends."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from bedrock_chat.bedrock.emulator import framing
from bedrock_chat.bedrock.emulator.refusals import RETRY_AFTER, Refusal, in_camel
from bedrock_chat.bedrock.emulator.script import FOR_EVER, Script

Step = tuple[float, bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """`steps` are (seconds to wait after the step before, bytes). An infinite wait lasts until the peer leaves.

    If `keep` is False, the connection is closed after the reply. `status` is 0 if no HTTP head is sent.
    """

    steps: tuple[Step, ...]
    status: int
    keep: bool = True


def as_json(document: Any, status: int = 200, *, wait: float = 0.0, headers: str = "") -> Reply:
    body = orjson.dumps(document)
    return Reply(((wait, _head(status, f"Content-Length: {len(body)}\r\n{headers}") + body),), status)


def refused(refusal: Refusal, *, wait: float = 0.0, retry_after: int | None = None) -> Reply:
    """An error as Bedrock sends it, with the name in a header and the sentence in the body."""
    headers = f"x-amzn-ErrorType: {refusal.code}\r\n"
    if seconds := retry_after or RETRY_AFTER.get(refusal.code):
        headers += f"Retry-After: {seconds}\r\n"
    return as_json({"message": refusal.message}, refusal.status, wait=wait, headers=headers)


def refused_in_stream(refusal: Refusal) -> Reply:
    """A stream whose first event is the refusal, as some vendors' models refuse."""
    frame = framing.exception(in_camel(refusal.code), refusal.message)
    return Reply(((0.0, _STREAM_HEAD + framing.chunk(frame) + framing.LAST_CHUNK),), 200)


def before_any_byte(script: Script) -> Reply | None:
    """The reply of a request that fails before its answer begins. None if the script lets the answer begin."""
    if script.after is not None:
        return None
    if script.fault:
        return refused(Refusal(script.fault, script.message), wait=script.wait)
    if script.cut:
        return Reply(((script.wait, b""),), 0, keep=False)
    if script.silence == FOR_EVER:
        return Reply(((FOR_EVER, b""),), 0, keep=False)
    return None


def whole(script: Script, document: dict[str, Any], deltas: int) -> Reply:
    """Converse's answer, sent at the time at which its stream would end.

    A fault that would come in the middle of the stream refuses the whole call instead.
    """
    wait = script.wait + script.pace * max(0, deltas - 1)
    if script.after is None:
        return as_json(document, wait=wait + (script.silence or 0.0))
    if script.fault:
        code = "ModelErrorException" if script.fault == "ModelStreamErrorException" else script.fault
        return refused(Refusal(code, script.message or Refusal(script.fault).message), wait=wait)
    complete = as_json(document, wait=wait)
    ((_, data),) = complete.steps
    beginning, rest = data[:-20], data[-20:]  # the beginning is the head and most of the body
    if script.cut:
        return Reply(((wait, beginning),), 200, keep=False)
    if script.silence is not None:
        return Reply(((wait, beginning), (script.silence, rest)), 200)
    return complete


def streamed(script: Script, events: Iterable[tuple[str, dict[str, Any]]]) -> Reply:
    """ConverseStream's answer, one chunk per event, with the scripted failure in the middle of it."""
    return Reply(tuple(_stream(script, events)), 200, keep=not script.cut)


def _stream(script: Script, events: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Step]:
    """The steps of a stream. A failure comes once, when `_is_reached` says so.

    A silence is a pause, after which the stream goes on. A fault is an exception frame that ends the stream. `end` ends
    the chunked body early but correctly, and a cut leaves it without its last chunk.
    """
    wait = script.wait + (script.silence or 0.0 if script.after is None else 0.0)
    yield wait, _STREAM_HEAD
    written, pending = 0, script.fails and (script.after is not None or script.end)
    for kind, payload in events:
        if pending and _is_reached(script, kind, written):
            pending = False
            if script.silence is not None:
                yield script.silence, b""
            if script.fault:
                yield 0.0, framing.chunk(framing.exception(in_camel(script.fault), _sentence(script)))
            if script.fault or script.end:
                yield 0.0, framing.LAST_CHUNK
                return
            if script.cut:
                return
        is_delta = kind == "contentBlockDelta"
        yield (script.pace if is_delta and written else 0.0), framing.chunk(framing.event(kind, payload))
        written += is_delta
    yield 0.0, framing.LAST_CHUNK


def _is_reached(script: Script, kind: str, written: int) -> bool:
    """Whether the failure comes before this event: after `after` deltas, at the latest before messageStop."""
    if kind == "messageStop":
        return True
    return script.after is not None and written >= script.after and kind != "messageStart"


def _sentence(script: Script) -> str:
    return script.message or Refusal(script.fault or "").message


def _head(status: int, fields: str) -> bytes:
    return (
        f"HTTP/1.1 {status} {_PHRASES.get(status, '')}\r\nContent-Type: application/json\r\n"
        f"x-amzn-RequestId: {uuid.uuid4()}\r\n{fields}\r\n"
    ).encode()


def stream_head(fields: str = "") -> bytes:
    """The head of an event stream, chunked, with further header fields."""
    return (
        f"HTTP/1.1 200 OK\r\nContent-Type: {framing.CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n"
        f"x-amzn-RequestId: {uuid.UUID(int=0)}\r\n{fields}\r\n"
    ).encode()


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STREAM_HEAD = stream_head()
