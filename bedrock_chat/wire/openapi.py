"""The OpenAPI document: our errors on every route, the wire's names in every schema."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema_serializer
from rest_framework import serializers

from bedrock_chat.wire.names import camel
from bedrock_chat.wire.renderers import JSON

VOID = {"type": "null", "description": "Nothing to say: the body is `null`."}
"""The 200 of routes that only do something."""

ALWAYS = (405, 500)
TOKEN = "token"  # noqa: S105  the name of the scheme
WITH_TOKEN = (401, 403, 429)
WITH_BODY = (400, 413, 415)

REASONS = {
    400: "The request is not valid; `errors` names each field.",
    401: "No token, or one that is malformed, expired, or not for this server.",
    403: "Not permitted, or the user is suspended.",
    404: "Not there, or not the caller's.",
    405: "The method is not for this route.",
    409: "The state of things does not allow this now; `Retry-After` where waiting helps.",
    413: "The body is larger than MAX_BODY_MB.",
    415: "The body is not JSON, or it is compressed.",
    422: "The `Idempotency-Key` belongs to an earlier request with another body.",
    429: "Too many requests or failed tokens; try again after `Retry-After` seconds.",
    500: "A fault of the server; it was recorded.",
    502: "The model failed, or the server may not use it.",
    503: "Bedrock is throttling or the server is full; try again after `Retry-After` seconds.",
    504: "The model took too long.",
    507: "The disk of the server's database is full.",
}

EXAMPLES = {
    400: "message.content.0.mediaType: This field is required.",
    401: "The token has expired.",
    403: "Your account is suspended.",
    404: "There is no such conversation.",
    405: 'Method "PUT" not allowed.',
    409: "This question is still being answered.",
    413: "The request body is larger than 136 MB.",
    415: 'Unsupported media type "text/plain" in request.',
    422: "This Idempotency-Key was sent with another body before.",
    429: "Too many failed tokens from this address.",
    500: "The server failed to answer; the fault has been recorded.",
    502: "The model failed while answering. Try again.",
    503: "Bedrock has no capacity for this model right now. Try again in a moment, or choose another model.",
    504: "The model took too long to answer. Try again, or ask for less.",
    507: "A storage of this server is full, so that not even a deletion can be written; an operator must make room.",
}

_RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait before the next try."}}
HEADERS: dict[str, dict[str, Any]] = {
    "401": {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "`Bearer`."}},
    "405": {"Allow": {"schema": {"type": "string"}, "description": "The methods of this route."}},
    "409": _RETRY_AFTER,
    "429": _RETRY_AFTER,
    "503": _RETRY_AFTER,
}


class ErrorSerializer(serializers.Serializer[Any]):
    """Every error, whatever its status."""

    detail = serializers.CharField(help_text="One sentence.")
    errors = serializers.ListField(  # type: ignore[assignment]  # a field, which the metaclass takes from the class
        child=serializers.CharField(), help_text='Each `"field.path: message"`, or `detail` again.'
    )
    conversation_id = serializers.CharField(
        required=False, help_text="On the error of a turn: where its question was stored."
    )
    message_id = serializers.CharField(
        required=False, help_text="On the error of a turn: the stored question; sent again, it is asked again."
    )


def errors(*statuses: int) -> dict[tuple[int, str], OpenApiResponse]:
    """Error responses for `extend_schema(responses={200: …, **errors(404)})`: JSON, whatever else the view renders.

    WireSchema adds what need not be named: 405 and 500 everywhere, 401, 403 and 429 where a token is needed, 400, 413
    and 415 where there is a body.
    """
    return {(status, JSON): _error(status) for status in statuses}


def _error(status: int) -> OpenApiResponse:
    sentence = EXAMPLES[status]
    detail = f"The request is not valid: {sentence}" if status == HTTPStatus.BAD_REQUEST else sentence
    example = OpenApiExample(
        HTTPStatus(status).phrase,
        value={"detail": detail, "errors": [sentence]},
        response_only=True,
        status_codes=[str(status)],
    )
    return OpenApiResponse(response=ErrorSerializer, description=REASONS[status], examples=[example])


_LINKS = "x-links"


def links(**operations: dict[str, str]) -> dict[str, Any]:
    """For `extend_schema(extensions=links(get_note={"note_id": "$response.body#/id"}))`: where a 200 leads.

    Operation id → its parameters, as runtime expressions over the response. Documentation pages show the links, and the
    fuzzing tests follow them.
    """
    targets = {name: {"operationId": name, "parameters": parameters} for name, parameters in operations.items()}
    return {_LINKS: targets}


class WireSchema(AutoSchema):
    """Adds to an operation the errors and headers that it has even where its view does not name them, and its links."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation: dict[str, Any] | None = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        statuses = {
            *ALWAYS,
            *(WITH_TOKEN if any(TOKEN in requirement for requirement in operation.get("security", ())) else ()),
            *(WITH_BODY if "requestBody" in operation else ()),
        }
        responses = operation["responses"]
        for status in statuses:
            if str(status) not in responses:
                responses[str(status)] = self._get_response_for_code(  # type: ignore[no-untyped-call]
                    _error(status), str(status), [JSON]
                )
        operation["responses"] = dict(sorted(responses.items()))
        if leads_to := operation.pop(_LINKS, None):
            responses["200"]["links"] = leads_to
        return operation

    def _get_response_headers_for_code(self, status_code: str, direction: Any = "response") -> dict[str, Any]:
        return {**HEADERS.get(status_code, {}), **super()._get_response_headers_for_code(status_code, direction)}


# ---- Names ----------------------------------------------------------------------------------------------------------


_AS_SPELLED = "x-as-spelled"

as_spelled = extend_schema_serializer(extensions={_AS_SPELLED: True})
"""Decorates a serializer whose names are those of another API: they stay as they are."""


def camelize(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:
    """drf-spectacular's postprocessing hook: properties under the wire's names, as clients see them.

    Values (examples, defaults, enumerations), the keys of maps, and names of what is `as_spelled` stay.
    """
    for schema in result.get("components", {}).get("schemas", {}).values():
        _camelize(schema)
    for operations in result.get("paths", {}).values():
        for operation in operations.values():
            for part in (operation.get("requestBody", {}), *operation.get("responses", {}).values()):
                for content in part.get("content", {}).values():
                    _camelize(content.get("schema", {}))
    return result


def _camelize(schema: dict[str, Any]) -> None:
    if schema.pop(_AS_SPELLED, False):
        return
    if "properties" in schema:
        schema["properties"] = {camel(name): inner for name, inner in schema["properties"].items()}
    if "required" in schema:
        schema["required"] = [camel(name) for name in schema["required"]]
    if "discriminator" in schema:
        schema["discriminator"]["propertyName"] = camel(schema["discriminator"]["propertyName"])
    for inner in _inner_schemas(schema):
        _camelize(inner)


def _inner_schemas(schema: dict[str, Any]) -> Iterable[dict[str, Any]]:
    yield from schema.get("properties", {}).values()
    for keyword in ("allOf", "anyOf", "oneOf", "prefixItems"):
        yield from schema.get(keyword, [])
    for keyword in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(keyword), dict):
            yield schema[keyword]
