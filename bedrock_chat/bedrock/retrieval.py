"""Searches a knowledge base of AWS that somebody else maintains."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import botocore.exceptions

from bedrock_chat.bedrock import clients
from bedrock_chat.bedrock.agent_calls import Empty, Refused, calling
from bedrock_chat.database.text import storable
from bedrock_chat.process.interruption import Interruption

logger = logging.getLogger(__name__)

SUBJECT: Final = "knowledge base"
PAGE_NUMBER: Final = "x-amz-bedrock-kb-document-page-number"
MOST_RESULTS: Final = 100
HYBRID: Final = "HYBRID"
SEMANTIC: Final = "SEMANTIC"
SEARCH_TYPE_REFUSED: Final = ("hybrid", "search type")
"""Words, in lower case, by which a base refuses a type of search."""


@dataclass(frozen=True, slots=True)
class RetrievedPassage:
    """A piece of a document. `source_link` is its address, such as `s3://…` or `https://…`, and `source_name` its name.

    `page_number` counts from 1. `metadata` is what the base keeps of the document.
    """

    text: str
    source_name: str | None = None
    source_link: str | None = None
    page_number: int | None = None
    score: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


def retrieve(
    knowledge_base_id: str,
    query: str,
    *,
    max_results: int,
    search_type: str,
    filters: Mapping[str, Any] | None,
    deadline: float,
    interruption: Interruption,
) -> list[RetrievedPassage]:
    """The passages that fit the query best, the best first. `search_type` is hybrid or semantic, in any case.

    Where the base refuses to search for words as well as for meaning, it is asked for meaning alone. `filters` is
    Bedrock's RetrievalFilter. `deadline` is a moment of `time.monotonic`, for both calls.

    Raises a `CallFault`, an `Empty` one where nothing is found, and Interrupted.
    """
    kind = HYBRID if search_type.upper() == HYBRID else SEMANTIC
    number = max(1, min(max_results, MOST_RESULTS))
    arguments = (knowledge_base_id, query, number, filters, deadline, interruption)
    try:
        results = _retrieve(kind, *arguments)
    except Refused as refused:
        if kind != HYBRID or not _is_about_search_type(refused):
            raise
        logger.warning("The knowledge base %s refuses hybrid searches; it was asked again.", knowledge_base_id)
        results = _retrieve(SEMANTIC, *arguments)
    passages = [passage for result in results if (passage := passage_of(result)).text]
    if not passages:
        raise Empty(SUBJECT)
    return passages


def _retrieve(
    search_type: str,
    knowledge_base_id: str,
    query: str,
    number: int,
    filters: Mapping[str, Any] | None,
    deadline: float,
    interruption: Interruption,
) -> list[dict[str, Any]]:
    search: dict[str, Any] = {"numberOfResults": number, "overrideSearchType": search_type}
    if filters:
        search["filter"] = filters
    client = clients.agent_runtime()
    with calling(SUBJECT, knowledge_base_id, deadline=deadline, interruption=interruption):
        response = client.retrieve(
            knowledgeBaseId=knowledge_base_id,
            retrievalQuery={"text": query},
            retrievalConfiguration={"vectorSearchConfiguration": search},
        )
    return list(response.get("retrievalResults", ()))


def _is_about_search_type(refused: Refused) -> bool:
    """Whether AWS's own sentence names the type of search. It is not passed on: it may quote the query."""
    error = refused.__cause__
    if not isinstance(error, botocore.exceptions.ClientError):
        return False
    sentence = str(error.response.get("Error", {}).get("Message") or "").lower()
    return any(words in sentence for words in SEARCH_TYPE_REFUSED)


# ---- Passages -------------------------------------------------------------------------------------------------------


def passage_of(result: Mapping[str, Any]) -> RetrievedPassage:
    """A result of Retrieve, or a reference in a citation of an agent. What is no text is named."""
    link = _link(result.get("location") or {})
    metadata = dict(result.get("metadata") or {})
    page = metadata.get(PAGE_NUMBER)
    return RetrievedPassage(
        storable(_text(result.get("content") or {})),
        storable(_name(link)) if link else None,
        storable(link) if link else None,
        int(page) if isinstance(page, int | float) and not isinstance(page, bool) else None,
        result.get("score"),
        metadata,
    )


def _text(content: Mapping[str, Any]) -> str:
    if text := content.get("text"):
        return str(text)
    if row := content.get("row"):
        return ", ".join(f"{column.get('columnName', '')}: {column.get('columnValue', '')}" for column in row)
    for kind, words in (("audio", "transcription"), ("video", "summary")):
        if segment := content.get(kind):
            return str(segment.get(words) or f"(1 {kind} that is not shown)")
    return "(1 image that is not shown)" if content.get("byteContent") else ""


def _link(location: Mapping[str, Any]) -> str:
    """The address in a location, of which only one member beside `type` is there: `{"s3Location": {"uri": …}}`."""
    for name, value in location.items():
        if name != "type" and isinstance(value, Mapping):
            for member in ("uri", "url", "id", "query"):
                if value.get(member):
                    return str(value[member])
    return ""


def _name(link: str) -> str:
    """The last part of an object's key in S3; every other address is its own name."""
    if not link.startswith("s3://"):
        return link
    return PurePosixPath(unquote(urlsplit(link).path)).name or link
