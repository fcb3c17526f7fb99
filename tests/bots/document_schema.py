"""The JSON Schema of a bot's document, made of OpenAPI's. `python -m tests.bots.document_schema` writes the file."""

import json
from pathlib import Path
from typing import Any

PATH = Path(__file__).resolve().parent.parent.parent / "docs" / "bot.schema.json"
OPENAPI = "#/components/schemas/"


def schema() -> dict[str, Any]:
    """Needs Django to be set up."""
    from drf_spectacular.generators import SchemaGenerator

    generator: Any = SchemaGenerator
    components = generator().get_schema(request=None, public=True)["components"]["schemas"]
    definitions: dict[str, Any] = {}
    root = _strict(components["Document"], components, definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A bot of Bedrock Chat, as it is exported and imported",
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def _strict(part: Any, components: dict[str, Any], definitions: dict[str, Any]) -> Any:
    """The part without names that it does not know, and with what it refers to among the definitions.

    `anyOf` replaces `oneOf`: of a shape without its word several may be true.
    """
    if isinstance(part, list):
        return [_strict(item, components, definitions) for item in part]
    if not isinstance(part, dict):
        return part
    if isinstance(reference := part.get("$ref"), str):
        name = reference.removeprefix(OPENAPI)
        if name not in definitions:
            definitions[name] = None
            definitions[name] = _strict(components[name], components, definitions)
            if name == "ActiveModels":  # a server of another version may know other models
                definitions[name]["additionalProperties"] = {"type": "boolean"}
        others = {key: value for key, value in part.items() if key != "$ref"}
        return {**others, "$ref": f"#/$defs/{name}"}
    strict = {
        "anyOf" if key == "oneOf" else key: _strict(value, components, definitions)
        for key, value in part.items()
        if key not in ("discriminator", "x-spec-enum-id")
        if not (key == "description" and "enum" in part)
    }
    if "properties" in strict:
        strict["additionalProperties"] = False
    return strict


def laid_out() -> str:
    return json.dumps(schema(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bedrock_chat.settings")
    django.setup()
    PATH.write_text(laid_out(), encoding="utf-8")
