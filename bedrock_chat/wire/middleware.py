"""Checks host and path of every request before a view sees it, and gives every error our shape."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from bedrock_chat.database.text import is_storable
from bedrock_chat.wire.errors import ApiError, BadRequest, UnsupportedMediaType, as_api_error, json_error, recorded

CONSOLE = "/console/"
DOCUMENTATION = "/docs"
PROBES = frozenset({"/health", "/ready", "/metrics"})
"""Paths that are answered whatever the Host: balancers, kubelets and Prometheus ask by an address of their choice."""

BODILESS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose bodies nobody reads."""

POLICIES = {
    # The console's theme (Alpine) evaluates expressions and sets styles; everything else comes from this server.
    CONSOLE: (
        "default-src 'self'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'; object-src 'none'"
    ),
    # Swagger UI and Redoc set styles, and Redoc searches in a worker that it makes from a blob.
    DOCUMENTATION: (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "connect-src 'self'; worker-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    ),
    "/": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
}

Handler = Callable[[HttpRequest], HttpResponseBase]


class WireMiddleware:
    """Refuses what no view should see, and keeps Django's HTML error pages away from API clients, also under DEBUG.

    It stands right inside CorsMiddleware, so that its own responses carry CORS headers like all others.
    """

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self._refusal(request) or self._in_our_shape(request, self.get_response(request))
        response.headers.setdefault("Content-Security-Policy", _policy(request.path))
        return response

    def _refusal(self, request: HttpRequest) -> HttpResponseBase | None:
        if request.path not in PROBES:
            try:
                request.get_host()
            except DisallowedHost:
                return json_error(BadRequest("The Host header names no host of this server (see ALLOWED_HOSTS)."))
        # No id or text that we store holds a NUL.
        if not is_storable(request.path) or "%00" in request.META.get("QUERY_STRING", ""):
            return json_error(BadRequest("The address holds a NUL character."))
        if request.method not in BODILESS and (coding := _coding(request)):
            sentence = f"The Content-Encoding {coding} is not supported; send the body without one."
            return json_error(UnsupportedMediaType(sentence, headers={"Accept-Encoding": "identity"}))
        return None

    def _in_our_shape(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Replaces Django's HTML error pages. A failing middleware causes one, which under DEBUG shows internals."""
        is_page = response.status_code >= HTTPStatus.BAD_REQUEST and "html" in response.headers.get("Content-Type", "")
        if not is_page or request.path.startswith(CONSOLE):
            return response
        error = ApiError()
        if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
            error = ApiError(f"{HTTPStatus(response.status_code).phrase}.")
            error.status_code = response.status_code
        return json_error(error)

    def process_view(
        self, request: HttpRequest, view: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]
    ) -> HttpResponseBase | None:
        """Answers OPTIONS without a token, with the route's methods alone. CorsMiddleware answers preflights."""
        cls = getattr(view, "cls", None)
        if request.method != "OPTIONS" or cls is None:
            return None
        actions = getattr(view, "actions", None)
        served = {name for name in cls.http_method_names if (name in actions if actions else hasattr(cls, name))}
        served |= {"options", "head"} if "get" in served else {"options"}
        allowed = ", ".join(sorted(name.upper() for name in served))
        response = HttpResponse(status=HTTPStatus.NO_CONTENT, headers={"Allow": allowed})
        del response.headers["Content-Type"]
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Handles errors of views outside DRF; DRF handles those of its own. The console keeps Django's pages, which
        know nothing of a database that is away.
        """
        error = as_api_error(exception)
        if request.path.startswith(CONSOLE) and error.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
            return None
        return json_error(recorded(exception))


def _coding(request: HttpRequest) -> str:
    """How the body is coded, as the client names it; empty where it is sent as it is (`identity`)."""
    named: str = request.META.get("HTTP_CONTENT_ENCODING", "")
    codings = {coding.strip().lower() for coding in named.split(",")} - {"", "identity"}
    return named.strip() if codings else ""


def _policy(path: str) -> str:
    return next(policy for prefix, policy in POLICIES.items() if path.startswith(prefix))
