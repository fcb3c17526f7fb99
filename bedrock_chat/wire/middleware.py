"""What holds for every request before a view sees it: host, path, and errors in our shape whatever raised them."""

import logging
from collections.abc import Callable

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from bedrock_chat.wire.errors import BadRequest, as_api_error, json_error

logger = logging.getLogger(__name__)

CONSOLE = "/console/"

POLICIES = {
    # The console's theme (Alpine) evaluates expressions and sets styles; everything else stays at home.
    CONSOLE: (
        "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    ),
    "/docs": (
        "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data:; worker-src 'self' blob:; frame-ancestors 'none'; base-uri 'none'; object-src 'none'"
    ),
    "/": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
}

Handler = Callable[[HttpRequest], HttpResponseBase]


class WireMiddleware:
    """Refuses what no view should see, and keeps Django's HTML error pages away from API clients, also under DEBUG."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._refusal(request) or self.get_response(request)
        response.headers.setdefault("Content-Security-Policy", _policy(request.path))
        return response

    def _refusal(self, request: HttpRequest) -> HttpResponseBase | None:
        try:
            request.get_host()
        except DisallowedHost:
            return json_error(BadRequest("The Host header names no host of this server (see ALLOWED_HOSTS)."))
        if "\0" in request.path:
            return json_error(BadRequest("The path holds a NUL character."))
        return None

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Views of DRF have answered before this; the console keeps Django's own pages."""
        if request.path.startswith(CONSOLE):
            return None
        error = as_api_error(exception)
        if error.status_code >= 500:
            logger.error("unhandled %s", type(exception).__name__, exc_info=exception)
        return json_error(error)


def _policy(path: str) -> str:
    return next(policy for prefix, policy in POLICIES.items() if path.startswith(prefix))
