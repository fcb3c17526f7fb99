"""Which ids a URL can name: clients choose ids, and what one route hands out the next one takes.

A URL names an id percent-encoded, and whoever decodes it (servers, proxies, `urls`) sees the id as a part of the path.
So these cannot be named:

- `.` and `..`. Clients and proxies take them for "here" and "one level up", however they are encoded.
- Control characters. A line break ends the path for Django, and proxies refuse the others.
- An id that reads like a longer route. `a/title` names the title of `a`.

Ids that are stored already stay: lists show them, and `POST /conversations/bulk-delete` takes them in its body.
"""

import re
from typing import Final

from django.urls.converters import PathConverter

_DOTS: Final = frozenset({".", ".."})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LONGER_ROUTE: Final = re.compile(
    r"/(?:title|proposed-title|related-documents|stream|stop|feedback)\Z|/related-documents/"
)
_BEFORE_A_SOURCE: Final = "related-documents"


def conversation_refusal(external_id: str) -> str | None:
    """Why no URL can name this id of a conversation, as a sentence; None if one can."""
    if _LONGER_ROUTE.search(external_id):
        return "A URL with this id would name another route; it must not end like one (such as /title)."
    return _refusal(external_id)


def message_refusal(external_id: str) -> str | None:
    """Why no URL can name this id of a message, as a sentence; None if one can."""
    if "/" in external_id or external_id == _BEFORE_A_SOURCE:
        return f"A URL with this id would name another route; it must not hold a slash or be {_BEFORE_A_SOURCE}."
    return _refusal(external_id)


def nameable_source(source_id: str) -> str:
    """A related document's id that a URL can name: tools choose these ids, and no document is lost for its id."""
    return f"{source_id}@" if source_id in _DOTS else _CONTROL.sub("\ufffd", source_id)


def _refusal(external_id: str) -> str | None:
    if external_id in _DOTS:
        return 'No URL can name this id; it must not be "." or "..".'
    if _CONTROL.search(external_id):
        return "No URL can name this id; it must not hold control characters."
    return None


class ShortestPath(PathConverter):
    """As little of the path as will do: a source's id may hold `/related-documents/`, a conversation's may not."""

    regex = ".+?"
