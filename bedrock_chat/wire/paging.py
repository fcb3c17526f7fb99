"""Pages of a list: `limit` and `cursor` in the query, the next page in a `Link` header, and a bare array as the body.

A page begins after the last row of the page before it, whatever was added or deleted meanwhile. Without `limit` the
rest of the list is one page.
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from drf_spectacular.utils import OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from bedrock_chat.database.text import is_storable
from bedrock_chat.wire.errors import BadRequest

LARGEST_PAGE = 1000
_MARK = "after:"
"""Begins every cursor, so that other text is not taken for one."""

PARAMETERS = [
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
        description="The most items of a page. Without it all of them are one page.",
    ),
    OpenApiParameter("cursor", str, description="Opaque, from the `Link` header of the page before."),
]
LINK = OpenApiParameter(
    "Link",
    str,
    OpenApiParameter.HEADER,
    response=[200],
    description='The next page: `<address>; rel="next"`. Absent on the last one.',
)


@dataclass(frozen=True, slots=True)
class Page:
    """A requested page: at most `limit` items, after the one whose key is `after`."""

    limit: int | None = None
    after: str | None = None

    @property
    def rows(self) -> int | None:
        """How many rows to read: one more than is shown, to see whether another page follows."""
        return None if self.limit is None else self.limit + 1


ALL = Page()


def read(request: Request) -> Page:
    """The page that a request asks for. Raises BadRequest."""
    query = request.query_params
    limit, cursor = query.get("limit"), query.get("cursor")
    return Page(None if limit is None else _limit(limit), None if cursor is None else _after(cursor))


def respond(request: Request, page: Page, items: list[dict[str, Any]], *, key: str) -> Response:
    """The response for a page. `items` are up to `page.rows` rows; `key` is the field that orders the list."""
    if page.limit is None or len(items) <= page.limit:
        return Response(items)
    shown = items[: page.limit]
    query = urlencode({"limit": page.limit, "cursor": cursor_behind(shown[-1][key])})
    return Response(shown, headers={"Link": f'<{settings.PUBLIC_BASE_URL}{request.path}?{query}>; rel="next"'})


def cursor_behind(key: str) -> str:
    return base64.urlsafe_b64encode(f"{_MARK}{key}".encode()).decode().rstrip("=")


def _limit(text: str) -> int:
    # Only ASCII digits, and few of them: `int` accepts those of other scripts, and takes seconds for a million digits.
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 8 else 0
    if not 1 <= number <= LARGEST_PAGE:
        raise BadRequest(f"limit: expected a whole number from 1 to {LARGEST_PAGE}.")
    return number


def _after(cursor: str) -> str:
    try:
        raw = cursor.encode("ascii")
        decoded = base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True).decode()
    except (UnicodeError, binascii.Error, ValueError):
        decoded = ""
    mark, after = decoded[: len(_MARK)], decoded[len(_MARK) :]
    if mark != _MARK or not after or not is_storable(after):
        raise BadRequest("cursor: this is no cursor of this list; begin without one.")
    return after
