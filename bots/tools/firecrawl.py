"""Firecrawl's search: one POST with the bot's own key, through the guard (`bedrock_chat/outbound`)."""

import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.conf import settings

from bedrock_chat.outbound.fetching import Response, post_json
from bots.tools import servers
from bots.tools.faults import translated
from bots.tools.tool import Context, ToolFault
from bots.tools.web import Page, Search, page

SERVER: Final = "firecrawl"
LONGEST_PAGE: Final = 4000
"""Characters of a page's Markdown."""
_KEY: Final = re.compile(r"[\x21-\x7e]+")

REFUSED: Final = "Firecrawl refused the key: the bot's owner must send a valid one."
NO_CREDITS: Final = "Firecrawl's credits are used up."
THROTTLED: Final = "Firecrawl is throttling: too many searches at once. Try again later."
NOT_UNDERSTOOD: Final = "Firecrawl did not take this search."
FAILED: Final = "Firecrawl failed. Try again later."
UNREADABLE: Final = "Firecrawl's answer cannot be read."


def search(wanted: Search, key: str, context: Context) -> list[Page]:
    """What Firecrawl finds, in its order. Raises ToolFault."""
    if not _KEY.fullmatch(key):
        raise ToolFault(REFUSED, "denied")
    body: dict[str, Any] = {
        "query": wanted.query,
        "limit": wanted.most,
        "scrapeOptions": {"formats": ["markdown"], "onlyMainContent": True},
    }
    if wanted.country:
        body["location"] = wanted.country.upper()
    if wanted.time_limit:
        body["tbs"] = f"qdr:{wanted.time_limit}"
    with servers.place(SERVER, context), translated():
        response = post_json(
            f"{settings.FIRECRAWL_URL}/v2/search",
            body,
            credential_headers={"Authorization": f"Bearer {key}"},
            deadline=context.deadline,
            interruption=context.interruption,
        )
        return list(_pages(response, wanted.most, key))


def _pages(response: Response, most: int, key: str) -> Iterator[Page]:
    """Raises ToolFault unless the answer is one of pages."""
    match response.status:
        case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
            raise ToolFault(REFUSED, "denied")
        case HTTPStatus.PAYMENT_REQUIRED:
            raise ToolFault(NO_CREDITS, "denied")
        case HTTPStatus.TOO_MANY_REQUESTS:
            raise ToolFault(THROTTLED, "throttled")
        case status if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise ToolFault(FAILED, "failed")
        case status if status >= HTTPStatus.BAD_REQUEST:
            raise ToolFault(NOT_UNDERSTOOD, "failed")
    response.require_success()
    try:
        answer = orjson.loads(response.body)
    except ValueError:
        raise ToolFault(UNREADABLE, "unreadable") from None
    if not isinstance(answer, dict):
        raise ToolFault(UNREADABLE, "unreadable")
    if answer.get("success") is False:
        raise ToolFault(FAILED, "failed")
    pages = answer.get("data")
    if isinstance(pages, dict):  # the newer shape: by source
        pages = pages.get("web") or []
    if not isinstance(pages, list):
        raise ToolFault(UNREADABLE, "unreadable")
    for entry in pages[:most]:
        if isinstance(entry, dict):
            text = entry.get("markdown") or entry.get("description")
            title, url = entry.get("title"), entry.get("url")
            if (found_page := page(title, url, text, longest=LONGEST_PAGE, secrets=[key])) is not None:
                yield found_page
