"""`knowledge_base_tool`: a Bedrock knowledge base that somebody else maintains, which the bot names by its id."""

from collections.abc import Mapping
from typing import Any, Final

from bedrock_chat.bedrock import retrieval
from bedrock_chat.bedrock.retrieval import RetrievedPassage
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.wire.names import camel
from bots import configuration as configurations
from bots.configuration import Configuration
from bots.tools import results, running, servers
from bots.tools.faults import translated
from bots.tools.tool import Context, Result, TextPart, Tool, ToolFault

NAME: Final = "knowledge_base_tool"
KIND: Final = "knowledge"
LONGEST_QUERY: Final = 1000
"""Characters that a base takes."""
USUAL_RESULTS: Final = 20
USUAL_SEARCH_TYPE: Final = "hybrid"
DESCRIPTION: Final = (
    "Searches the documents that this assistant was given, and returns the passages that fit best. Use it for every"
    " question that they may answer; ask again in other words if the passages do not help."
)
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "query": {
            "type": "string",
            "description": "Search query for vector search, full text search, and hybrid search",
        }
    },
    "required": ["query"],
}


def tool_of(configuration: Configuration, base_id: str, alias: str = NAME) -> Tool:
    def run(value: Mapping[str, Any], context: Context) -> Result:
        return search(configuration, base_id, value["query"], context)

    return Tool(
        alias=alias,
        description=DESCRIPTION,
        schema=SCHEMA,
        kind=KIND,
        is_read_only=True,
        server=server_of(base_id),
        seconds=None,
        run=running.guarded(alias, run),
    )


def server_of(base_id: str) -> str:
    return f"knowledge base {base_id}"


def search(configuration: Configuration, base_id: str, query: str, context: Context) -> Result:
    """The passages of a base, each a part with its document. Raises ToolFault."""
    words = " ".join(results.clean(query).split())[:LONGEST_QUERY]
    if not words:
        raise ToolFault("The query is empty.", "input")
    wishes = configurations.search_params(configuration)
    with servers.place(server_of(base_id), context), translated():
        passages = retrieval.retrieve(
            base_id,
            words,
            max_results=wishes.get("max_results", USUAL_RESULTS),
            search_type=wishes.get("search_type", USUAL_SEARCH_TYPE),
            filters=in_camel(wishes.get("filter")),
            deadline=context.deadline,
            interruption=context.interruption,
        )
    return results.of([TextPart(passage.text) for passage in passages], [_document(passage) for passage in passages])


def in_camel(condition: Any) -> Any:
    """A filter with the words as Bedrock has them: `and_all` → `andAll`. Keys of metadata are values, and stay."""
    if isinstance(condition, list):
        return [in_camel(inner) for inner in condition]
    if isinstance(condition, dict):
        return {camel(word): in_camel(inner) for word, inner in condition.items()}
    return condition


def _document(passage: RetrievedPassage) -> FoundDocument:
    return FoundDocument(
        "",
        {"text": passage.text},
        "",
        source_name=passage.source_name,
        source_link=passage.source_link,
        page_number=passage.page_number,
    )
