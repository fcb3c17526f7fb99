"""How the OpenAPI document is made: settings, without an import of the framework that reads them."""

from typing import Any, Final

SPECTACULAR_SETTINGS: Final[dict[str, Any]] = {
    "TITLE": "Bedrock Chat",
    "DESCRIPTION": "Conversations with Amazon Bedrock models, bots, their store, and bots that are published as APIs. "
    "Names are camelCase; `Accept: application/json; case=snake` answers in snake_case, and requests may use either.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SERVE_PERMISSIONS": [],
    "COMPONENT_SPLIT_REQUEST": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "defaultModelsExpandDepth": 0},  # the list of schemas begins folded
    "REDOC_DIST": "SIDECAR",
    "PATH_CONVERTER_OVERRIDES": {"shortest": str},
    "POSTPROCESSING_HOOKS": ["bedrock_chat.wire.openapi.camelize"],
}
