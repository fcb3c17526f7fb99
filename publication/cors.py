"""CORS of published APIs: each publication has origins of its own, and a preflight needs no key and spends nothing."""

from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.cache import patch_vary_headers

from bedrock_chat.database.connections import release_connection
from bedrock_chat.database.text import is_storable
from publication.authentication import HEADER, KNOWN_KEY, PREFIX, KnownKey
from publication.models import Publication

METHODS = "GET, POST, OPTIONS"
OF_OPENAIS_CLIENT = (
    "arch",
    "helper-method",
    "lang",
    "os",
    "package-version",
    "retry-count",
    "runtime",
    "runtime-version",
    "timeout",
)
"""What OpenAI's client for JavaScript tells of itself, each behind `x-stainless-`."""
HEADERS = ", ".join(
    [
        *settings.CORS_ALLOW_HEADERS,
        HEADER,
        "idempotency-key",
        "user-agent",
        *(f"x-stainless-{name}" for name in OF_OPENAIS_CLIENT),
    ]
)
"""Those of every route, a key's, and those of OpenAI's client, whose `Authorization` is a key too."""
EXPOSED = "Retry-After, RateLimit, RateLimit-Policy, X-Turn-Status, X-Request-ID"
MAX_AGE = "86400"

Handler = Callable[[HttpRequest], HttpResponseBase]


class PublishedCors:
    """Middleware that answers preflights to published APIs, and lets their origins read the responses."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        origin = request.headers.get("Origin")
        if not request.path.startswith(PREFIX) or origin is None:
            return self.get_response(request)
        if request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers:
            response: HttpResponseBase = HttpResponse(status=204)
            if allowed := _allowed(request, origin):
                response.headers["Access-Control-Allow-Origin"] = allowed
                response.headers["Access-Control-Allow-Methods"] = METHODS
                response.headers["Access-Control-Allow-Headers"] = HEADERS
                response.headers["Access-Control-Max-Age"] = MAX_AGE
        else:
            response = self.get_response(request)
            if allowed := _allowed(request, origin):
                response.headers["Access-Control-Allow-Origin"] = allowed
                response.headers["Access-Control-Expose-Headers"] = EXPOSED
        patch_vary_headers(response, ["Origin"])
        return response


def _allowed(request: HttpRequest, origin: str) -> str | None:
    """What to answer an origin that the publication names, else None. It is read where no key has named it."""
    known = request.META.get(KNOWN_KEY)
    if isinstance(known, KnownKey):
        origins = known.publication.allowed_origins
    else:
        bot_id, _, rest = request.path.removeprefix(PREFIX).partition("/")
        if not is_storable(request.path):  # no API has such an address, and PostgreSQL refuses the question
            return None
        try:
            row = Publication.objects.filter(bot=bot_id, stage=rest.partition("/")[0])
            origins = row.values_list("allowed_origins", flat=True).first() or []
        finally:
            release_connection()
    if "*" in origins:
        return "*"
    return origin if origin in origins else None
