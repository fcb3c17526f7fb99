"""Errors as OpenAI's clients read them: `{"error": {"message", "type", "param", "code"}}`, with our status."""

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from bedrock_chat.wire.renderers import JSON, dumps
from publication.authentication import is_openai

LIMIT_EXCEEDED: Final = "Limit Exceeded"
FORBIDDEN: Final = "Forbidden"

Handler = Callable[[HttpRequest], HttpResponseBase]


def shaped(status: int, body: Mapping[str, Any]) -> dict[str, Any]:
    """An error in OpenAI's shape. `body` has it in ours, and perhaps `code` and `param` beside it."""
    kind, code = _kind(status, body)
    return {
        "error": {
            "message": body.get("detail", ""),
            "type": kind,
            "param": body.get("param"),
            "code": body.get("code", code),
        }
    }


def _kind(status: int, body: Mapping[str, Any]) -> tuple[str, str | None]:
    """OpenAI's type of an error, and its code where the status tells that."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return "server_error", None
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        if body.get("message") == LIMIT_EXCEEDED:
            return "insufficient_quota", "insufficient_quota"
        return "requests", "rate_limit_exceeded"
    is_key = status == HTTPStatus.FORBIDDEN and body.get("message") == FORBIDDEN
    return "invalid_request_error", "invalid_api_key" if is_key else None


class OpenAIErrors:
    """Middleware that gives the errors of these routes their shape, wherever they come from: a refused body, too."""

    def __init__(self, get_response: Handler) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        response = self.get_response(request)
        is_error = response.status_code >= HTTPStatus.BAD_REQUEST and isinstance(response, HttpResponse)
        if is_error and is_openai(request.path) and response.headers.get("Content-Type", "").startswith(JSON):
            assert isinstance(response, HttpResponse)
            response.content = dumps(shaped(response.status_code, orjson.loads(response.content)))
        return response
