"""`knowledge_base_tool`: what a bot knows, from its index here, or from a base of AWS that the bot names by its id.

Both give the same results. Who maintains the knowledge is no matter of the model's.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bedrock_chat.bedrock import retrieval
from bedrock_chat.bedrock.retrieval import RetrievedPassage
from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.wire.names import camel
from bots import configuration as configurations
from bots.configuration import Configuration
from bots.knowledge import retrieval as own_index
from bots.knowledge.retrieval import Passage
from bots.tools import results, running, servers
from bots.tools.faults import translated
from bots.tools.tool import Context, Result, TextPart, Tool, ToolFault

NAME: Final = "knowledge_base_tool"
KIND: Final = "knowledge"
LONGEST_QUERY: Final = 1000
"""Characters that a base of AWS takes."""
OWN_INDEX: Final = "own index"
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


@dataclass(frozen=True, slots=True)
class Found:
    """Passages and, one to each, whence they are. `note` is a sentence about the search, where there is one to say."""

    texts: tuple[str, ...]
    documents: tuple[FoundDocument, ...]
    note: str = ""

    @property
    def result(self) -> Result:
        """As a tool gives it. The note is a part of its own, with a document like that of an error."""
        notes = [self.note] if self.note else []
        return results.of(
            [TextPart(text) for text in (*self.texts, *notes)],
            [*self.documents, *(FoundDocument("", {"text": note}, "", source_name=NAME) for note in notes)],
        )


def tool_of(configuration: Configuration, alias: str = NAME) -> Tool:
    """The tool of a bot that has any knowledge."""

    def run(value: Mapping[str, Any], context: Context) -> Result:
        return search(configuration, value["query"], context).result

    return Tool(
        alias=alias,
        description=DESCRIPTION,
        schema=SCHEMA,
        kind=KIND,
        is_read_only=True,
        server=server_of(configuration),
        seconds=None,
        run=running.guarded(alias, run),
    )


def server_of(configuration: Configuration) -> str:
    base_id = configurations.existing_knowledge_base(configuration)
    return OWN_INDEX if base_id is None else f"knowledge base {base_id}"


def search(configuration: Configuration, query: str, context: Context) -> Found:
    """The passages that fit a query, with their documents. Raises ToolFault."""
    base_id = configurations.existing_knowledge_base(configuration)
    if base_id is not None:
        passages = of_base(configuration, base_id, query, context)
        return Found(tuple(passage.text for passage in passages), tuple(map(_document, passages)))
    words = _words(query)
    try:
        retrieved = own_index.retrieve(context.bot, words, context)
    except own_index.Stopped:
        raise servers.stopped() from None
    except own_index.RetrievalFault as fault:
        raise ToolFault(fault.sentence, fault.outcome) from None
    return Found(
        tuple(passage.text for passage in retrieved.passages),
        tuple(map(_own_document, retrieved.passages)),
        retrieved.note,
    )


def _words(query: str) -> str:
    """The query on one line. Raises ToolFault for an empty one."""
    words = " ".join(results.clean(query).split())
    if not words:
        raise ToolFault("The query is empty.", "input")
    return words


def of_base(configuration: Configuration, base_id: str, query: str, context: Context) -> list[RetrievedPassage]:
    """The passages of a base of AWS, as they come from there. Hold no pooled connection. Raises ToolFault."""
    words = _words(query)[:LONGEST_QUERY]
    wishes = configurations.search_params(configuration)
    with servers.place(server_of(configuration), context), translated():
        return retrieval.retrieve(
            base_id,
            words,
            max_results=wishes.get("max_results", USUAL_RESULTS),
            search_type=wishes.get("search_type", USUAL_SEARCH_TYPE),
            filters=in_camel(wishes.get("filter")),
            deadline=context.deadline,
            interruption=context.interruption,
        )


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


def _own_document(passage: Passage) -> FoundDocument:
    return FoundDocument(
        "",
        {"text": passage.text},
        "",
        source_name=passage.name,
        source_link=passage.link,
        page_number=passage.page,
        document_number=passage.document,
    )
