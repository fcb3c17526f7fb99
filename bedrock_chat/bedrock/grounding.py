"""Has a guardrail hold an answer against passages and a question: their texts become marked blocks of the request.

Where a request has any such block, Bedrock judges nothing outside of them. So all of the question is marked.
"""

from collections.abc import Iterator, Sequence
from typing import Final

from bedrock_chat.bedrock.shapes import ConverseBlock, ConverseMessage

LONGEST_QUERY: Final = 1000
"""Characters that Bedrock takes as the query."""
SOURCE: Final = "grounding_source"
QUERY: Final = "query"
JUDGED: Final = "guard_content"


def with_sources(messages: Sequence[ConverseMessage], sources: Sequence[str]) -> list[ConverseMessage]:
    """The messages, of which the last question begins with the sources and has its text marked; as they are without
    any source, since Bedrock refuses an empty block. Earlier questions stay as they are.
    """
    changed = list(messages)
    place = next((place for place in range(len(changed) - 1, -1, -1) if _is_question(changed[place])), None)
    if place is None or not any(source.strip() for source in sources):
        return changed
    beginning = [_block(source, SOURCE) for source in sources if source.strip()]
    changed[place] = {"role": "user", "content": [*beginning, *_marked(changed[place]["content"])]}
    return changed


def _is_question(message: ConverseMessage) -> bool:
    return message["role"] == "user" and not any("toolResult" in block for block in message["content"])


def _marked(content: Sequence[ConverseBlock]) -> Iterator[ConverseBlock]:
    """The blocks with the text marked: its first characters as the query, and all of it to be judged."""
    room = LONGEST_QUERY
    for block in content:
        text = block.get("text")
        if text is None:
            yield block
            continue
        query, rest = text[:room], text[room:]
        if query.strip():
            yield _block(query, QUERY, JUDGED)
            room -= len(query)
        else:
            rest = text
        if rest.strip():
            yield _block(rest, JUDGED)


def _block(text: str, *qualifiers: str) -> ConverseBlock:
    return {"guardContent": {"text": {"text": text, "qualifiers": list(qualifiers)}}}
