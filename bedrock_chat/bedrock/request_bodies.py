"""Bodies of Converse's requests, written by orjson instead of botocore's walk through the service model.

That walk looks at every block of a prompt in Python, which took a tenth of a round's CPU. It changes nothing there but
bytes: in these two operations all members have on the wire the names that they have in Python, and tests check our
requests against the model.
"""

import base64
from typing import Any, Final

import orjson

REQUESTS: Final = frozenset({"ConverseRequest", "ConverseStreamRequest"})


def install(client: Any) -> None:
    """Makes a boto3 client of the Bedrock Runtime write these bodies. What orjson does not write, botocore writes.

    botocore has no public interface to its serializer, so this uses a private one, as `connections.install` does.
    """
    serializer = client._serializer
    by_botocore = serializer._serialize_body_params

    def serialized(params: Any, shape: Any) -> bytes:
        body = written(params) if shape.name in REQUESTS else None
        if body is None:
            body = by_botocore(params, shape)
        return body

    serializer._serialize_body_params = serialized


def written(body: dict[str, Any]) -> bytes | None:
    """A body as JSON, or None if orjson does not write it: an integer of over 64 bits, a lone surrogate."""
    try:
        return orjson.dumps(body, default=_base64)
    except (TypeError, ValueError):
        return None


def _base64(value: Any) -> str:
    if isinstance(value, bytes | bytearray | memoryview):
        return base64.b64encode(value).decode("ascii")
    raise TypeError(type(value).__name__)
