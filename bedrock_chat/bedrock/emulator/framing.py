"""Encodes `application/vnd.amazon.eventstream`: messages of headers and a JSON payload, with two checksums each.

A message consists of its total length, the length of its headers, the CRC of these eight bytes, the headers, the
payload, and the CRC of everything before. A header is a name and a typed value; type 7 is a string. Source: the AWS
SDK's event stream specification.
"""

import struct
from functools import cache
from typing import Any
from zlib import crc32

import orjson

CONTENT_TYPE = "application/vnd.amazon.eventstream"
LAST_CHUNK = b"0\r\n\r\n"

_STRING = 7
_OVERHEAD = 16  # two lengths and two checksums


def event(kind: str, payload: dict[str, Any]) -> bytes:
    """One event, such as `contentBlockDelta`, as a message."""
    return _message(_headers("event", kind), orjson.dumps(payload))


def exception(kind: str, message: str) -> bytes:
    """An exception in the middle of a stream. `kind` is in lowerCamelCase, such as `throttlingException`."""
    return _message(_headers("exception", kind), orjson.dumps({"message": message}))


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked HTTP body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@cache
def _headers(message_type: str, kind: str) -> bytes:
    fields = {f":{message_type}-type": kind, ":content-type": "application/json", ":message-type": message_type}
    return b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", _STRING, len(value)) + value.encode()
        for name, value in fields.items()
    )


def _message(headers: bytes, payload: bytes) -> bytes:
    lengths = struct.pack("!II", _OVERHEAD + len(headers) + len(payload), len(headers))
    message = b"".join((lengths, struct.pack("!I", crc32(lengths)), headers, payload))
    return message + struct.pack("!I", crc32(message))
