"""From an answer to what goes over the connection and when: a Reply is timed pieces of bytes, and how it ends."""

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from bedrock_chat.bedrock.emulator import framing
from bedrock_chat.bedrock.emulator.refusals import Refusal, in_camel
from bedrock_chat.bedrock.emulator.script import FOR_EVER, Script

Step = tuple[float, bytes]


@dataclass(frozen=True, slots=True)
class Reply:
    """`steps` are (seconds after the step before, bytes); an infinite wait lasts until the peer leaves.

    A connection is closed behind a reply that does not keep it. `status` is 0 where no head is sent.
    """

    steps: tuple[Step, ...]
    status: int
    keep: bool = True


def as_json(document: Any, status: int = 200, *, wait: float = 0.0, headers: str = "") -> Reply:
    body = orjson.dumps(document)
    return Reply(((wait, _head(status, f"Content-Length: {len(body)}\r\n{headers}") + body),), status)


def refused(refusal: Refusal, *, wait: float = 0.0) -> Reply:
    """An error as Bedrock sends it: its name in a header, its sentence in the body."""
    headers = f"x-amzn-ErrorType: {refusal.code}\r\n"
    return as_json({"message": refusal.message}, refusal.status, wait=wait, headers=headers)


def before_any_byte(script: Script) -> Reply | None:
    """What goes wrong before the answer begins; None where nothing does."""
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
    """Converse's answer: as late as its stream would have ended. A fault in mid-stream is one of the call here."""
    wait = script.wait + script.pace * max(0, deltas - 1)
    if script.after is None:
        return as_json(document, wait=wait + (script.silence or 0.0))
    if script.fault:
        code = "ModelErrorException" if script.fault == "ModelStreamErrorException" else script.fault
        return refused(Refusal(code, script.message or Refusal(script.fault).message), wait=wait)
    answered = as_json(document, wait=wait)
    ((_, data),) = answered.steps
    begun, rest = data[:-20], data[-20:]  # the head and most of the body, and what is missing then
    if script.cut:
        return Reply(((wait, begun),), 200, keep=False)
    if script.silence is not None:
        return Reply(((wait, begun), (script.silence, rest)), 200)
    return answered


def streamed(script: Script, events: Iterable[tuple[str, dict[str, Any]]]) -> Reply:
    """ConverseStream's answer, one chunk an event, with what goes wrong in its midst."""
    return Reply(tuple(_stream(script, events)), 200, keep=not script.cut)


def _stream(script: Script, events: Iterable[tuple[str, dict[str, Any]]]) -> Iterator[Step]:
    wait = script.wait + (script.silence or 0.0 if script.after is None else 0.0)
    yield wait, _STREAM_HEAD
    written, pending = 0, script.goes_wrong and (script.after is not None or script.end)
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


_PHRASES = {status.value: status.phrase for status in HTTPStatus}
_STREAM_HEAD = (
    f"HTTP/1.1 200 OK\r\nContent-Type: {framing.CONTENT_TYPE}\r\nTransfer-Encoding: chunked\r\n"
    f"x-amzn-RequestId: {uuid.UUID(int=0)}\r\n\r\n"
).encode()
