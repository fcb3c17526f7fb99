"""A bot as a document: one JSON object that stands for itself, without secrets and without people but the owner."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rest_framework import serializers

from bedrock_chat.identity.models import User
from bedrock_chat.wire import errors
from bedrock_chat.wire.errors import BadRequest
from bedrock_chat.wire.names import camel
from bots import files
from bots.configuration import FileEntry, files_of, wire_key
from bots.content import Content
from bots.rendering import Wire, camelized
from bots.serializers.documents import SCHEMA, VERSION, DocumentSerializer
from bots.serializers.shapes import ShapeField

MOST_STRANGERS = 20
LONGEST_SHOWN = 100


@dataclass(frozen=True, slots=True)
class Document:
    """A document that was read. `sent` is for `content.imported`; `files` have the bytes that it names, by file name.

    `owner` are the id and the user name of whose bot it was.
    """

    sent: Mapping[str, Any]
    files: Mapping[str, FileEntry]
    allow_cloning: bool
    bot_id: str | None
    owner: tuple[str, str] | None


def of(content: Content, *, allow_cloning: bool, bot_id: str, owner: User | None = None) -> Wire:
    """The document of a bot. Only files of an operator name the owner."""
    named = {"owner": {"id": owner.pk, "username": owner.username}} if owner else {}
    bot = bot_part(content, allow_cloning=allow_cloning)
    return {"schema": SCHEMA, "version": VERSION, "id": bot_id, **named, "bot": bot}


def bot_part(content: Content, *, allow_cloning: bool) -> Wire:
    """What the document says of the bot itself. Names inside its parts are sorted: databases do not keep an order.

    Of the models only those that are switched off are named, so that a model that comes later changes no document.
    """
    configuration = content.configuration
    entries = files_of(configuration)
    guardrails = configuration["bedrock_guardrails"]
    knowledge = configuration["knowledge"]
    bounds = {"toolRounds": configuration.get("tool_rounds"), "toolSeconds": configuration.get("tool_seconds")}
    return {
        "title": content.title,
        "description": content.description,
        "instruction": content.instruction,
        "allowCloning": allow_cloning,
        "generationParams": _sorted(configuration["generation_params"]),
        "agent": {"tools": [_tool(tool) for tool in configuration["tools"]]},
        "knowledge": _sorted({name: urls for name, urls in knowledge.items() if name != "filenames"}),
        "files": [
            {"filename": name, "digest": entries[name]["sha256"], "size": entries[name]["size"]}
            for name in knowledge["filenames"]
        ],
        "bedrockKnowledgeBase": _sorted(configuration["bedrock_knowledge_base"]),
        "bedrockGuardrails": guardrails
        and _sorted({name: value for name, value in guardrails.items() if not name.startswith("guardrail_")}),
        "conversationQuickStarters": _sorted(configuration["quick_starters"]),
        "activeModels": {wire_key(key): False for key in configuration["inactive_models"]},
        "promptCachingEnabled": configuration["prompt_caching_enabled"],
        "displayRetrievedChunks": configuration["display_retrieved_chunks"],
        **{name: bound for name, bound in bounds.items() if bound is not None},
    }


def read(data: Any) -> Document:
    """The document that parsed JSON is. Raises BadRequest, which names the place.

    What it says of the bot is held to what a creation may say, and other names than the document's are refused.
    """
    _refuse_version(data)
    if strangers := list(islice(_strangers(DocumentSerializer(), data), MOST_STRANGERS)):
        raise errors.invalid(*(f"{place}: a bot's document has no such field." for place in strangers))
    serializer = DocumentSerializer(data=data)
    if not serializer.is_valid():
        raise errors.as_api_error(serializers.ValidationError(serializer.errors))
    fields: dict[str, Any] = serializer.validated_data
    sent = dict(fields["bot"])
    entries = _entries(sent.pop("files", []))
    allow_cloning = sent.pop("allow_cloning", False)
    knowledge = sent.get("knowledge") or {"source_urls": [], "sitemap_urls": [], "s3_urls": []}
    sent["knowledge"] = {**knowledge, "filenames": list(entries)}
    owner = fields.get("owner")
    return Document(sent, entries, allow_cloning, fields.get("id"), owner and (owner["id"], owner["username"]))


def _refuse_version(data: Any) -> None:
    """Before anything else is looked at: the names of another version are not known here."""
    if not isinstance(data, dict):
        raise BadRequest("Expected a bot's document: a JSON object.")
    if data.get("schema") != SCHEMA:
        raise errors.invalid(f"schema: expected {SCHEMA!r}.")
    version = data.get("version")
    if version != VERSION or not isinstance(version, int) or isinstance(version, bool):
        raise errors.invalid(f"version: this server reads version {VERSION} of a bot's document.")


def _strangers(field: Any, data: Any, place: str = "") -> Iterator[str]:
    """The places of names that no field has."""
    if isinstance(field, ShapeField) and (shape := field.shape_of(data)) is not None:
        field = shape()
    if isinstance(field, serializers.Serializer) and isinstance(data, dict):
        for name, value in data.items():
            inner = f"{place}{'.' if place else ''}{camel(name)[:LONGEST_SHOWN]}"
            if name in field.fields:
                yield from _strangers(field.fields[name], value, inner)
            else:
                yield inner
    elif isinstance(field, serializers.ListField) and isinstance(data, list):
        for index, item in enumerate(data):
            yield from _strangers(field.child, item, f"{place}.{index}")


def _entries(named: list[dict[str, Any]]) -> dict[str, FileEntry]:
    """The files by name. Raises BadRequest."""
    entries: dict[str, FileEntry] = {}
    sizes: dict[str, int] = {}
    for index, file in enumerate(named):
        name, digest, size = file["filename"], file["digest"], file["size"]
        try:
            files.refuse_name(name)
        except BadRequest as error:
            raise errors.invalid(f"bot.files.{index}.{error.detail}") from None
        if name in entries:
            raise errors.invalid(f"bot.files.{index}.filename: another file has this name.")
        if sizes.setdefault(digest, size) != size:
            raise errors.invalid(f"bot.files.{index}.size: the same bytes have two sizes.")
        entries[name] = {"sha256": digest, "size": size}
    return entries


def _tool(tool: Any) -> Wire:
    config = tool.get("firecrawl_config")
    keyless = {"firecrawl_config": {"max_results": config["max_results"]}} if config else {}
    wire: Wire = _sorted({**tool, **keyless})
    return wire


def _sorted(value: Any) -> Any:
    """JSON with the wire's names, in their order."""
    if isinstance(value, list):
        return [_sorted(item) for item in value]
    if isinstance(value, dict):
        wire = camelized(value)
        return {name: _sorted(wire[name]) for name in sorted(wire)}
    return value
