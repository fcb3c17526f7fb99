"""What was asked for, as terms to look up and to count. Pure.

No character of a query is an operator: quotation marks, stars, `AND` and the like are blanks or words as in any text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from bedrock_chat.search.tokenizer import Token, tokens

MOST_TOKENS: Final = 64
"""Of a longer query these first ones count."""

_JOINTS: Final = frozenset("-_./:\\'’@&+#~")
"""What stands inside one word to its reader: user_id, e-mail, v3.7."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Tokens that follow one another. An `open` one may end within a token: a single character, which begins a pair."""

    tokens: tuple[str, ...]
    open: bool = False

    @property
    def needle(self) -> str:
        """What to look for among a document's words, with blanks around them."""
        return f" {' '.join(self.tokens)}{'' if self.open else ' '}"


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a query, which any of the alternatives answers; the first is what was asked for."""

    alternatives: tuple[Phrase, ...]


def parse(query: str) -> tuple[Term, ...]:
    """The parts of a query, all of which are wanted; none where it holds no word."""
    return tuple(Term((phrase,)) for phrase in dict.fromkeys(_phrases(query)))


def apart(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The same query, each token a term of its own."""
    found: dict[Term, None] = {}
    for term in terms:
        if len(term.alternatives[0].tokens) == 1:
            found[term] = None
        else:
            found |= dict.fromkeys(Term((Phrase((token,)),)) for token in term.alternatives[0].tokens)
    return tuple(found)


def _phrases(query: str) -> Iterator[Phrase]:
    joined: list[Token] = []
    for token in islice(tokens(query), MOST_TOKENS):
        if joined and not _JOINTS.issuperset(query[joined[-1].end : token.start]):
            yield _phrase(joined)
            joined = []
        joined.append(token)
    if joined:
        yield _phrase(joined)


def _phrase(joined: list[Token]) -> Phrase:
    """Where a run without blanks ends in the query, the text may go on: its last character begins some pair there."""
    texts = tuple(token.text for token in joined)
    if joined[-1].text != joined[-1].first:
        return Phrase(texts)
    if len(joined) > 1 and joined[-2].first and joined[-2].end == joined[-1].end:
        return Phrase(texts[:-1])
    return Phrase(texts, open=True)
