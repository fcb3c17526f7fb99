"""Tools: how a model is told of one, what running one gave, and what it found for the reader."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it; `schema` is the JSON schema of its input."""

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
    """What a tool found, for the reader to look at. `content` is a tool result's part, such as `{"text": …}`."""

    tool_use_id: str
    content: dict[str, Any]
    source_id: str
    source_name: str | None = None
    source_link: str | None = None
    page_number: int | None = None
