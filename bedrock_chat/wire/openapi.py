"""The OpenAPI document: our errors on every route, the wire's names in every schema."""

from http import HTTPStatus
from typing import Any

from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiExample, OpenApiResponse
from rest_framework import serializers

from bedrock_chat.wire.names import camel

VOID = {"type": "null", "description": "Nothing to say: the body is `null`."}
"""The 200 of routes that only do something."""

COMMON = (401, 403, 405, 429, 500)
REASONS = {
    400: "The request is not valid; `errors` names each field.",
    401: "No token, or one that is malformed, expired, or not for this server.",
    403: "Not permitted, or the user is suspended.",
    404: "Not there, or not the caller's.",
    405: "The method is not for this route.",
    409: "The state of the conversation does not allow this now; `Retry-After` where waiting helps.",
    413: "The body is larger than MAX_BODY_MB.",
    415: "The body is not JSON.",
    429: "Too many failed tokens from this address.",
    500: "A fault of the server; it was recorded.",
    502: "The model failed, or the server may not use it.",
    503: "Bedrock is throttling or the server is full; try again after `Retry-After` seconds.",
    504: "The model took too long.",
}


class ErrorSerializer(serializers.Serializer[Any]):
    detail = serializers.CharField(help_text="One sentence.")
    errors = serializers.ListField(child=serializers.CharField(), help_text='Each `"field.path: message"`, or `detail`.')
    conversation_id = serializers.CharField(required=False, help_text="Where a question was stored before the error.")
    message_id = serializers.CharField(required=False, help_text="The stored question; send it again to retry.")


def errors(*statuses: int) -> dict[int, OpenApiResponse]:
    """Error responses for `extend_schema(responses=…)`: the given statuses and those every route has."""
    return {status: _error(status) for status in sorted({*statuses, *COMMON})}


def _error(status: int) -> OpenApiResponse:
    sentence = REASONS[status]
    return OpenApiResponse(
        response=ErrorSerializer,
        description=sentence,
        examples=[
            OpenApiExample(
                HTTPStatus(status).phrase,
                value={"detail": HTTPStatus(status).phrase, "errors": [HTTPStatus(status).phrase]},
                response_only=True,
                status_codes=[str(status)],
            )
        ],
    )


class WireSchema(AutoSchema):
    """Errors are JSON also where an answer may be an event stream."""

    global_params: tuple[Any, ...] = ()


def camelize(result: dict[str, Any], generator: Any, request: Any, public: bool) -> dict[str, Any]:  # noqa: FBT001
    """drf-spectacular's postprocessing hook: the wire's names for properties, as clients see them."""
    for schema in result.get("components", {}).get("schemas", {}).values():
        _camelize(schema)
    return result


def _camelize(schema: Any) -> None:
    if isinstance(schema, list):
        for item in schema:
            _camelize(item)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("properties"), dict):
        schema["properties"] = {camel(name): inner for name, inner in schema["properties"].items()}
    if isinstance(schema.get("required"), list):
        schema["required"] = [camel(name) for name in schema["required"]]
    if isinstance(schema.get("discriminator"), dict):
        schema["discriminator"]["propertyName"] = camel(schema["discriminator"]["propertyName"])
    for key, inner in schema.items():
        if key not in ("example", "default", "enum", "required"):
            _camelize(inner)
