"""Blocks that a request marks for its guardrail, and the answers that are held against what they say.

Nothing is judged: a question with `[[ungrounded]]` has an answer that its sources do not say, and one with
`[[irrelevant]]` an answer to another question.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid

SOURCE: Final = "grounding_source"
QUERY: Final = "query"
JUDGED: Final = "guard_content"
MARKERS: Final = {"[[ungrounded]]": "GROUNDING", "[[irrelevant]]": "RELEVANCE"}
MOST_SOURCE: Final = 50_000
"""Characters of all sources together. AWS's quota, in text units of 1,000 characters, is 100 in us-east-1 and us-west-2
and 50 elsewhere ("Amazon Bedrock endpoints and quotas", Guardrails, contextual grounding source length)."""
MOST_QUERY: Final = 1_000
"""The quota of the query's length: one text unit, everywhere."""
MOST_ANSWER: Final = 5_000
"""The quota of the response's length: five text units, everywhere."""

Messages = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Marked:
    """The text of a `guardContent` block, and what it is for. Without qualifiers it is judged, and nothing else."""

    text: str
    qualifiers: frozenset[str]


def marked_of(messages: Messages) -> list[Marked]:
    """The marked texts of the user, in their order."""
    blocks = [block for message in messages if message["role"] == "user" for block in message["content"]]
    return [one for block in blocks if (one := of_block(block)) is not None]


def of_block(block: Mapping[str, Any]) -> Marked | None:
    text = (block.get("guardContent") or {}).get("text")
    return None if text is None else Marked(text["text"], frozenset(text.get("qualifiers") or (JUDGED,)))


def judged(messages: Messages) -> Iterator[str]:
    """The user's texts that filters of content look at: those that are marked for it, and where none is marked, all."""
    marked = marked_of(messages)
    if marked:
        yield "".join(one.text for one in marked if JUDGED in one.qualifiers)
        return
    for message in messages:
        if message["role"] == "user":
            yield from (block["text"] for block in message["content"] if "text" in block)


def question_of(content: Sequence[Mapping[str, Any]]) -> str | None:
    """The question within a message whose texts are marked. None for a message without such texts."""
    marked = [one for block in content if (one := of_block(block)) is not None]
    texts = [one.text for one in marked if one.qualifiers != {SOURCE}]
    return "".join(texts) if texts else None


def applies(shares: Mapping[str, float], messages: Messages) -> bool:
    """Whether answers are held against anything: with a threshold, a source and a query. Raises Refusal for too long
    ones.
    """
    marked = marked_of(messages) if shares else []
    sources = sum(len(one.text) for one in marked if SOURCE in one.qualifiers)
    query = sum(len(one.text) for one in marked if QUERY in one.qualifiers)
    if sources > MOST_SOURCE:
        raise _too_long("grounding source", sources, MOST_SOURCE)
    if query > MOST_QUERY:
        raise _too_long("query", query, MOST_QUERY)
    return bool(sources and query)


def refuse_long_answer(text: str) -> None:
    """Raises Refusal, which in a stream comes when it has begun."""
    if len(text) > MOST_ANSWER:
        raise _too_long("response", len(text), MOST_ANSWER, in_stream=True)


def failing(shares: Mapping[str, float], question: str) -> list[dict[str, Any]]:
    """The findings about an answer that a marker of its question calls bad. Empty where it is good."""
    return [
        {"type": kind, "threshold": shares[kind], "score": 0.0, "action": "BLOCKED", "detected": True}
        for marker, kind in MARKERS.items()
        if marker in question and shares.get(kind, 0.0) > 0
    ]


def _too_long(what: str, characters: int, most: int, *, in_stream: bool = False) -> Refusal:
    return invalid(
        f"The {what} for contextual grounding has {characters} characters, which exceeds the maximum of {most}.",
        in_stream=in_stream,
    )
