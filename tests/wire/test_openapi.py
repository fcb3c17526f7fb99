"""The OpenAPI document: the wire's names, every error, and how a union of content blocks is written."""

import json
import re
from typing import Any

import pytest
from django.test import Client
from django.urls import path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.utils import PolymorphicProxySerializer, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import ViewSet

from bedrock_chat.wire import documentation
from bedrock_chat.wire.openapi import VOID, camelize, errors, links
from bedrock_chat.wire.renderers import WireRenderer
from tests.wire.urls import Events

# ---- A worked example: a list of blocks, told apart by `contentType` ------------------------------------------------


class TextBlockSerializer(serializers.Serializer[Any]):
    content_type = serializers.ChoiceField(choices=["text"])
    body = serializers.CharField()


class ToolUseBlockSerializer(serializers.Serializer[Any]):
    content_type = serializers.ChoiceField(choices=["toolUse"])
    tool_use_id = serializers.CharField(allow_null=True)
    input = serializers.DictField(default={"a_key": "some_value"})


BLOCKS = PolymorphicProxySerializer(
    component_name="Block",
    serializers={"text": TextBlockSerializer, "toolUse": ToolUseBlockSerializer},
    resource_type_field_name="content_type",
    many=True,
)


@extend_schema_field(BLOCKS)
class BlocksField(serializers.Field[Any, Any, Any, Any]):
    """A list of blocks: validation is this field's own, the document comes from BLOCKS."""


class NoteSerializer(serializers.Serializer[Any]):
    note_id = serializers.CharField()
    blocks_of_it = BlocksField()
    note_map = serializers.DictField(child=TextBlockSerializer())


class NoteViewSet(ViewSet):
    renderer_classes = (Events, WireRenderer)

    @extend_schema(
        request=NoteSerializer,
        responses={200: NoteSerializer, **errors(404, 409)},
        extensions=links(note_destroy={"note_id": "$response.body#/noteId"}),
    )
    def create(self, request: Request) -> Response:
        return Response()

    @extend_schema(auth=[], responses={200: VOID})
    def destroy(self, request: Request) -> Response:
        return Response()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    patterns = [path("notes", NoteViewSet.as_view({"post": "create", "delete": "destroy"}))]
    schema: dict[str, Any] = SchemaGenerator(patterns=patterns).get_schema(request=None, public=True)
    return json.loads(json.dumps(schema))


def test_properties_have_the_names_of_the_wire(document: dict[str, Any]) -> None:
    note = document["components"]["schemas"]["Note"]
    assert set(note["properties"]) == {"noteId", "blocksOfIt", "noteMap"}
    assert set(note["required"]) == {"noteId", "blocksOfIt", "noteMap"}
    assert note["properties"]["noteMap"]["additionalProperties"] == {"$ref": "#/components/schemas/TextBlock"}


def test_a_union_is_told_apart_by_its_discriminator(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    assert schemas["Block"]["discriminator"] == {
        "propertyName": "contentType",
        "mapping": {"text": "#/components/schemas/TextBlock", "toolUse": "#/components/schemas/ToolUseBlock"},
    }
    assert schemas["Note"]["properties"]["blocksOfIt"] == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/Block"},
    }
    assert schemas["ToolUseBlock"]["properties"]["contentType"]["enum"] == ["toolUse"]
    assert schemas["ToolUseBlock"]["properties"]["toolUseId"]["type"] == ["string", "null"]


def test_values_are_not_renamed(document: dict[str, Any]) -> None:
    properties = document["components"]["schemas"]["ToolUseBlock"]["properties"]
    assert properties["input"]["default"] == {"a_key": "some_value"}


def test_a_field_named_like_a_keyword_is_a_field() -> None:
    schema: dict[str, Any] = {"properties": {"required": {"type": "string"}, "properties": {"type": "object"}}}
    generated = {"components": {"schemas": {"Thing": schema}}}
    assert camelize(generated, None, None, public=True)["components"]["schemas"]["Thing"] == schema


def test_inline_schemas_are_renamed_too() -> None:
    def inline(name: str) -> dict[str, Any]:
        return {"content": {"application/json": {"schema": {"items": {"properties": {name: {}}, "required": [name]}}}}}

    generated = {"paths": {"/": {"post": {"requestBody": inline("a_b"), "responses": {"200": inline("c_d")}}}}}
    operation = camelize(generated, None, None, public=True)["paths"]["/"]["post"]
    assert operation == {"requestBody": inline("aB"), "responses": {"200": inline("cD")}}


def test_an_operation_lists_the_errors_it_names_and_those_it_has_anyway(document: dict[str, Any]) -> None:
    notes = document["paths"]["/notes"]
    assert list(notes["post"]["responses"]) == [
        "200",
        *(str(status) for status in (400, 401, 403, 404, 405, 409, 413, 415, 429, 500)),
    ]
    assert list(notes["delete"]["responses"]) == ["200", "405", "500"]


def test_every_error_is_the_shared_component_as_json_with_an_example(document: dict[str, Any]) -> None:
    for status, response in document["paths"]["/notes"]["post"]["responses"].items():
        if status != "200":
            assert list(response["content"]) == ["application/json"], status
            content = response["content"]["application/json"]
            assert content["schema"] == {"$ref": "#/components/schemas/Error"}
            [example] = content["examples"].values()
            assert set(example["value"]) == {"detail", "errors"}
    error = document["components"]["schemas"]["Error"]
    assert set(error["properties"]) == {"detail", "errors", "conversationId", "messageId"}
    assert set(error["required"]) == {"detail", "errors"}


@pytest.mark.parametrize(
    ("status", "header"),
    [("401", "WWW-Authenticate"), ("405", "Allow"), ("409", "Retry-After"), ("429", "Retry-After")],
)
def test_the_headers_of_errors_are_documented(document: dict[str, Any], status: str, header: str) -> None:
    assert header in document["paths"]["/notes"]["post"]["responses"][status]["headers"]


def test_an_answer_says_what_it_leads_to(document: dict[str, Any]) -> None:
    operation = document["paths"]["/notes"]["post"]
    leads_to = {"operationId": "note_destroy", "parameters": {"note_id": "$response.body#/noteId"}}
    assert operation["responses"]["200"]["links"] == {"note_destroy": leads_to}
    assert not any("links" in response for status, response in operation["responses"].items() if status != "200")
    assert not any(name.startswith("x-") for name in operation)


def test_every_link_names_an_operation_and_its_parameters() -> None:
    schema = SchemaGenerator().get_schema(request=None, public=True)
    operations = [operation for path in schema["paths"].values() for operation in path.values()]
    parameters = {
        operation["operationId"]: {parameter["name"] for parameter in operation.get("parameters", ())}
        for operation in operations
    }
    count = 0
    for operation in operations:
        for link in operation["responses"].get("200", {}).get("links", {}).values():
            assert set(link["parameters"]) <= parameters[link["operationId"]]
            count += 1
    assert count > 10


# ---- The document and its readers over HTTP -------------------------------------------------------------------------


def test_the_document_is_served_as_json_to_everybody(client: Client) -> None:
    documentation.document.cache_clear()
    response = client.get("/schema", headers={"Accept": "text/html"})
    assert (response.status_code, response.json()["openapi"]) == (200, "3.1.0")
    assert documentation.document() is documentation.document()
    documentation.document.cache_clear()


@pytest.mark.parametrize("page", ["/docs/swagger", "/docs/redoc", "/docs/swagger?script="])
def test_the_documentation_comes_from_local_assets_under_a_strict_policy(client: Client, page: str) -> None:
    response = client.get(page)
    assert response.status_code == 200
    policy = response["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    text = response.content.decode()
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", text)
    assert not re.findall(r"<script>", text)
    assert "/schema" in text or "?script=" in text


def test_no_route_takes_the_format_from_its_address() -> None:
    """The `Accept` header alone chooses between JSON and events."""
    paths = documentation.document()["paths"]
    names = {
        parameter["name"]
        for methods in paths.values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
    }
    assert "conversation_id" in names
    assert "format" not in names
