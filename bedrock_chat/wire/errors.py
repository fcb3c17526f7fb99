"""Errors as every client reads them: `{"detail": "<one sentence>", "errors": ["<sentence>", …]}` and a status."""

import logging
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from itertools import islice
from typing import Any, Final, TypeVar

import orjson
from django.core import exceptions as django_exceptions
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.views.decorators.csrf import csrf_exempt
from rest_framework import exceptions
from rest_framework.response import Response
from rest_framework.settings import api_settings

from bedrock_chat.database import waiting
from bedrock_chat.encryption.errors import EncryptionError, NoKey
from bedrock_chat.resilience.disk_space import is_of_disk, is_out_of_space
from bedrock_chat.wire.names import camel
from bedrock_chat.wire.renderers import WireRenderer

logger = logging.getLogger(__name__)

Answer = TypeVar("Answer", bound=HttpResponse)

INTERNAL = "The server failed to answer; the fault has been recorded."
MOST_ERRORS: Final = 100
LONGEST_ERROR: Final = 500
"""Entries of `errors`, and characters of each. Messages quote the request, and a response must not grow with it."""
FULL_SECONDS: Final = 60


class ApiError(exceptions.APIException):
    """An error with a status, a sentence for the user, and what a client needs to act on it.

    `retry_after` is in seconds and becomes the `Retry-After` header, rounded up. `extra` stands beside `detail`.
    """

    status_code: int = HTTPStatus.INTERNAL_SERVER_ERROR
    default_detail = INTERNAL

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[str] | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        text = self.default_detail if detail is None else _shortened(detail)
        self.detail = exceptions.ErrorDetail(text, self.default_code)  # what DRF makes of a text, step by step
        self.errors = list(errors) if errors else [str(self.detail)]
        self.headers = dict(headers or {})
        if retry_after is not None:
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))
        self.extra: Mapping[str, Any] = dict(extra or {})


class BadRequest(ApiError):
    status_code = HTTPStatus.BAD_REQUEST
    default_detail = "The request cannot be understood."


class Unauthenticated(ApiError):
    status_code = HTTPStatus.UNAUTHORIZED
    default_detail = "A valid token is needed: Authorization: Bearer <ID token>."

    def __init__(self, detail: str | None = None, **options: Any) -> None:
        options["headers"] = {"WWW-Authenticate": "Bearer", **(options.get("headers") or {})}
        super().__init__(detail, **options)


class Forbidden(ApiError):
    status_code = HTTPStatus.FORBIDDEN
    default_detail = "You may not do this."


class NotFound(ApiError):
    status_code = HTTPStatus.NOT_FOUND
    default_detail = "There is nothing here."


class Conflict(ApiError):
    status_code = HTTPStatus.CONFLICT
    default_detail = "The state of things does not allow this."


class RequestTimeout(ApiError):
    status_code = HTTPStatus.REQUEST_TIMEOUT
    default_detail = "The request took too long to arrive."


class PayloadTooLarge(ApiError):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request is too large."


class HeadTooLarge(ApiError):
    status_code = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    default_detail = "The head of the request is too large."


class UnsupportedMediaType(ApiError):
    status_code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    default_detail = "The body is not JSON."


class Unprocessable(ApiError):
    status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    default_detail = "The request contradicts an earlier one."


class TooManyRequests(ApiError):
    status_code = HTTPStatus.TOO_MANY_REQUESTS
    default_detail = "Too many requests; try again later."


class UnknownTransferCoding(ApiError):
    status_code = HTTPStatus.NOT_IMPLEMENTED
    default_detail = "The only transfer coding that this server knows is chunked."


class BadGateway(ApiError):
    status_code = HTTPStatus.BAD_GATEWAY
    default_detail = "The model failed to answer."


class ServiceUnavailable(ApiError):
    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = "The service is busy; try again."


class StorageFull(ServiceUnavailable):
    """A disk of this server, of its database, or a quota is used up."""

    default_detail = "A storage of this server is full; try again later."


class StorageFailing(ServiceUnavailable):
    """A disk of this server is read-only or broken, or it has too many files open. The request may be as it should."""

    default_detail = "A storage of this server fails just now; try again later."


class InsufficientStorage(ApiError):
    """Nothing can be deleted either: a database first writes down what it is about to do."""

    status_code = HTTPStatus.INSUFFICIENT_STORAGE
    default_detail = (
        "A storage of this server is full, so that not even a deletion can be written; an operator must make room."
    )


class GatewayTimeout(ApiError):
    status_code = HTTPStatus.GATEWAY_TIMEOUT
    default_detail = "The model took too long to answer."


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's hook: turns every exception of a view into our shape, as JSON whatever the view renders."""
    request = context.get("request")
    if request is not None:
        # An error before an event stream's first event is ordinary JSON.
        request.accepted_renderer, request.accepted_media_type = WireRenderer(), WireRenderer.media_type
    error = recorded(exc)
    if isinstance(error, StorageFull) and request is not None and request.method == "DELETE":
        error = InsufficientStorage()  # "try again later" would promise a client that it helps to wait
    response = Response(
        body_of(error), status=error.status_code, headers=error.headers, content_type=WireRenderer.media_type
    )
    return _without_words(response)


def _without_words(response: Answer) -> Answer:
    """Has Django write none for its log of requests, which has server errors alone."""
    if response.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
        response._has_been_logged = True  # type: ignore[attr-defined]
    return response


def body_of(error: ApiError) -> dict[str, Any]:
    return {"detail": str(error.detail), "errors": error.errors, **error.extra}


def recorded(exc: Exception) -> ApiError:
    """The exception as an ApiError. If it was none and becomes a 5xx, it is logged with its traceback.

    Of a database that is away, the log tells once and not for every request.
    """
    error = as_api_error(exc)
    if isinstance(exc, OperationalError) and waiting.database.is_away:
        return error
    if error is not exc and error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("unhandled %s", type(exc).__name__, exc_info=exc)
    return error


def as_api_error(exc: Exception) -> ApiError:
    """Translates Django's and DRF's exceptions; an unknown one becomes a 500 that reveals nothing internal."""
    match exc:
        case ApiError():
            return exc
        case exceptions.ValidationError():
            return invalid(*_few(field_errors(exc.detail)))
        case django_exceptions.ValidationError():
            return invalid(*_few(iter(exc.messages)))
        case exceptions.NotAuthenticated():
            return Unauthenticated()
        case exceptions.AuthenticationFailed():
            return Unauthenticated(str(exc.detail))
        case exceptions.Throttled():
            return TooManyRequests(retry_after=getattr(exc, "wait", None))
        case exceptions.APIException():
            error = ApiError(str(exc.detail))
            error.status_code = exc.status_code
            return error
        case Http404():
            return NotFound()
        case django_exceptions.PermissionDenied():
            return Forbidden()
        case django_exceptions.RequestDataTooBig():
            return PayloadTooLarge()
        case django_exceptions.SuspiciousOperation() | django_exceptions.BadRequest() | UnreadablePostError():
            return BadRequest()
        case NoKey():
            return ServiceUnavailable(str(exc), retry_after=60)
        case EncryptionError():
            return ServiceUnavailable(
                "Secrets cannot be opened just now; an operator must look at ENCRYPTION_KEYS.", retry_after=60
            )
        case OperationalError() | OSError() if is_out_of_space(exc):
            return StorageFull(retry_after=FULL_SECONDS)
        case OSError() if is_of_disk(exc):
            return StorageFailing(retry_after=FULL_SECONDS)
        case OperationalError() | InterfaceError():
            # Locked, lost, restarting, or the pool has no free connection. It is temporary, which a 500 would not say.
            return ServiceUnavailable("The database does not answer; try again.", retry_after=1)
    return ApiError()


def invalid(*sentences: str) -> BadRequest:
    """The error for fields that are not valid: a sentence `"field.path: message"` for each."""
    if not sentences:
        return BadRequest()
    others = f" (and {len(sentences) - 1} more)" if len(sentences) > 1 else ""
    return BadRequest(f"The request is not valid: {sentences[0]}{others}", errors=sentences)


def _few(sentences: Iterator[str]) -> list[str]:
    """The first of the sentences, and one more that says so where there are others."""
    few = [_shortened(sentence) for sentence in islice(sentences, MOST_ERRORS)]
    if any(True for _ in sentences):
        few.append(f"There are more than these {MOST_ERRORS}.")
    return few


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= LONGEST_ERROR else f"{sentence[: LONGEST_ERROR - 1]}…"


def field_errors(detail: Any, path: str = "") -> Iterator[str]:
    """Each field error as `"field.path: message"`, with the wire's names and list indexes between dots."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            step = "" if name == api_settings.NON_FIELD_ERRORS_KEY else camel(str(name))
            yield from field_errors(inner, ".".join(filter(None, (path, step))))
    elif isinstance(detail, list):
        # Messages of one field, or the errors of a list's items, where a valid item has an empty object in its place.
        for index, inner in enumerate(detail):
            step = str(index) if isinstance(inner, Mapping | list) else ""
            yield from field_errors(inner, ".".join(filter(None, (path, step))))
    else:
        yield f"{path}: {detail}" if path else str(detail)


# ---- Errors that never reach DRF ------------------------------------------------------------------------------------


def json_error(error: ApiError) -> HttpResponse:
    headers = {"Content-Type": WireRenderer.media_type, **error.headers}
    return _without_words(HttpResponse(orjson.dumps(body_of(error)), status=error.status_code, headers=headers))


@csrf_exempt  # a POST to no route is a 404, not Django's page about CSRF cookies
def not_found(request: HttpRequest, exception: Exception | None = None, **_: Any) -> HttpResponse:
    """Django's `handler404`, and the view of every path that no route claims."""
    return json_error(NotFound(f"There is no {request.path} here."))


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return json_error(BadRequest())


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    return json_error(Forbidden())


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's `handler500`, for errors of middleware too: a database that is away is one that saves no session."""
    error = sys.exception()
    return json_error(as_api_error(error) if isinstance(error, Exception) else ApiError())
