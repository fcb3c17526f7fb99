"""Tools: how a tool is described to a model, that a tool has run, and the documents that it returned."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as it is described to the model. `schema` is the JSON schema of its input."""

    name: str
    description: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """A tool that the model asked for has run; `status` is success or error."""

    tool_use_id: str
    status: str


@dataclass(frozen=True, slots=True)
class FoundDocument:
    """A document that a tool returned, for the user to read. `content` is a part of the tool result: `{"text": …}`.

    `document_number` is there where the document stands in an index of our own. Its address is made at each read, so
    `source_link` is that of this moment, and is not stored.
    """

    tool_use_id: str
    content: dict[str, Any]
    source_id: str
    source_name: str | None = None
    source_link: str | None = None
    page_number: int | None = None
    document_number: int | None = None
