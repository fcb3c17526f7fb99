"""The settings of Django REST framework and of drf-spectacular. None of them comes from the environment."""

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["bedrock_chat.identity.authentication.TokenAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["bedrock_chat.identity.permissions.IsSignedIn"],
    "DEFAULT_PARSER_CLASSES": ["bedrock_chat.wire.parsers.WireParser"],
    "DEFAULT_RENDERER_CLASSES": ["bedrock_chat.wire.renderers.WireRenderer"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "bedrock_chat.wire.renderers.Negotiation",
    "URL_FORMAT_OVERRIDE": None,  # `Accept` alone chooses a representation
    "DEFAULT_SCHEMA_CLASS": "bedrock_chat.wire.openapi.WireSchema",
    "EXCEPTION_HANDLER": "bedrock_chat.wire.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS = {
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
