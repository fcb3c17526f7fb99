"""Bodies of images and documents as clients get them: inline, as the contract has it, or by reference."""

import base64
import logging
from collections.abc import Iterable
from typing import Any, Protocol

from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request

from bedrock_chat.blobs import links, storing
from bedrock_chat.database.connections import release_connection
from bedrock_chat.wire.errors import BadRequest

logger = logging.getLogger(__name__)

INLINE, REFERENCE = "inline", "reference"
PARAMETER = OpenApiParameter(
    "blobs",
    str,
    enum=[INLINE, REFERENCE],
    default=INLINE,
    description="How images and documents come: `inline` in base64, or by `reference`: their body is empty, and `url` "
    "has an address that serves the file without a token, for a limited time.",
)


class ShowBlob(Protocol):
    """Tells what stands for a blob on the wire, `body` and perhaps more."""

    def expect(self, shas: Iterable[str]) -> None:
        """These will be shown: their rows are read now, in one query, or not at all."""

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, Any]: ...


def asked_for(request: Request) -> ShowBlob:
    """What the query's `blobs` asks for. Raises BadRequest."""
    match request.query_params.get("blobs", INLINE):
        case "inline":
            return Inline()
        case "reference":
            return ByReference()
    raise BadRequest(f"blobs: expected {INLINE} or {REFERENCE}.")


class Inline:
    """Bodies in base64; each file is read once, however often one answer names it.

    Storage may be a network away, so the thread's database connection is let go before the first file is read: every
    row of the answer must have been read by then. A file that is lost is an empty body, and leaves its conversation
    readable.
    """

    def __init__(self) -> None:
        self._files = storing.StoredFiles()
        self._encoded: dict[str, str] = {}

    def expect(self, shas: Iterable[str]) -> None:
        self._files.expect(shas)

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, str]:
        if not self._encoded:
            release_connection()
        if sha256 not in self._encoded:
            self._encoded[sha256] = self._read(sha256)
        return {"body": self._encoded[sha256]}

    def _read(self, sha256: str) -> str:
        try:
            return base64.b64encode(self._files.read(sha256)).decode()
        except FileNotFoundError:
            logger.exception("The file of blob %s is lost.", sha256)
            return ""


class ByReference:
    """An address of the file; reads no file, and no row where the address names the blob alone."""

    def __init__(self) -> None:
        self._files = storing.StoredFiles() if links.storage_signs() else None

    def expect(self, shas: Iterable[str]) -> None:
        if self._files:
            self._files.expect(shas)

    def __call__(self, sha256: str, content_type: str, file_name: str) -> dict[str, str]:
        name = self._files.name(sha256) if self._files else None
        return {"body": "", "url": links.url(sha256, name, content_type=content_type, file_name=file_name)}
