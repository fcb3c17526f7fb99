"""Errors as every client reads them: `{"detail": "<one sentence>", "errors": ["<sentence>", …]}` and a status."""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.http import Http404, HttpRequest, JsonResponse
from rest_framework import exceptions
from rest_framework.response import Response

from bedrock_chat.wire.names import camel
from bedrock_chat.wire.renderers import WireRenderer

logger = logging.getLogger(__name__)

INTERNAL = "The server failed to answer; the fault has been recorded."


class ApiError(exceptions.APIException):
    """An error with a status, a sentence for the user, and what a client needs to act on it.

    `retry_after` is in seconds and becomes the `Retry-After` header, rounded up. `extra` stands beside `detail`.
    """

    status_code = HTTPStatus.INTERNAL_SERVER_ERROR
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
        super().__init__(detail)
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


class PayloadTooLarge(ApiError):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    default_detail = "The request is too large."


class TooManyRequests(ApiError):
    status_code = HTTPStatus.TOO_MANY_REQUESTS
    default_detail = "Too many requests; try again later."


class BadGateway(ApiError):
    status_code = HTTPStatus.BAD_GATEWAY
    default_detail = "The model failed to answer."


class ServiceUnavailable(ApiError):
    status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_detail = "The service is busy; try again."


class GatewayTimeout(ApiError):
    status_code = HTTPStatus.GATEWAY_TIMEOUT
    default_detail = "The model took too long to answer."


def exception_handler(exc: Exception, context: Mapping[str, Any]) -> Response:
    """DRF's hook: every exception of a view becomes our shape, as JSON whatever the view would have rendered."""
    request = context.get("request")
    if request is not None:
        # An error before an event stream's first event is ordinary JSON.
        request.accepted_renderer, request.accepted_media_type = WireRenderer(), WireRenderer.media_type
    error = as_api_error(exc)
    if isinstance(error, ApiError) and error.status_code == HTTPStatus.INTERNAL_SERVER_ERROR:
        logger.error("unhandled %s", type(exc).__name__, exc_info=exc)
    return Response(body_of(error), status=error.status_code, headers=error.headers, content_type="application/json")


def body_of(error: ApiError) -> dict[str, Any]:
    return {"detail": str(error.detail), "errors": error.errors, **error.extra}


def as_api_error(exc: Exception) -> ApiError:
    """Django's and DRF's exceptions as ours; anything unknown is a 500 that says nothing of the inside."""
    match exc:
        case ApiError():
            return exc
        case exceptions.ValidationError():
            errors = list(field_errors(exc.detail))
            detail = errors[0] if len(errors) == 1 else f"{len(errors)} fields are not valid: {errors[0]} …"
            return BadRequest(detail, errors=errors)
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return Unauthenticated()
        case exceptions.MethodNotAllowed():
            return _of_status(exc, exc.status_code)
        case exceptions.Throttled():
            return TooManyRequests(retry_after=exc.wait)
        case exceptions.APIException():
            return _of_status(exc, exc.status_code)
        case Http404():
            return NotFound()
        case PermissionDenied():
            return Forbidden()
        case RequestDataTooBig():
            return PayloadTooLarge()
        case SuspiciousOperation() | UnicodeError():
            return BadRequest()
    return ApiError()


def _of_status(exc: exceptions.APIException, status: int) -> ApiError:
    error = ApiError(str(exc.detail))
    error.status_code = status
    return error


def field_errors(detail: Any, path: str = "") -> Iterator[str]:
    """Each field error as `"field.path: message"`, with the wire's names and list indexes between dots."""
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else camel(str(name))
            yield from field_errors(inner, f"{path}.{step}" if path and step else path or step)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            nested = isinstance(inner, Mapping)
            yield from field_errors(inner, f"{path}.{index}" if nested and path else path)
    else:
        yield f"{path}: {detail}" if path else str(detail)


# ---- For what never reaches DRF -------------------------------------------------------------------------------------


def json_error(error: ApiError) -> JsonResponse:
    return JsonResponse(body_of(error), status=error.status_code, headers=error.headers)


def not_found(request: HttpRequest, exception: Exception | None = None, **_: Any) -> JsonResponse:
    return json_error(NotFound(f"There is no {request.path} here."))


def bad_request(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return json_error(BadRequest())


def permission_denied(request: HttpRequest, exception: Exception | None = None) -> JsonResponse:
    return json_error(Forbidden())


def server_error(request: HttpRequest) -> JsonResponse:
    return json_error(ApiError())
