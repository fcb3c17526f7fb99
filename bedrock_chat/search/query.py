"""The text of a query as terms to look up and to count. Pure.

No character of a query is an operator: quotation marks, stars, `AND` and the like are blanks or words as in any text.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Final

from bedrock_chat.search.tokenizer import Token, is_symbol, tokens

MOST_TOKENS: Final = 64
"""Tokens of a query that count, from its beginning."""
SHORTEST_IDENTIFIER: Final = 5

_JOINTS: Final = frozenset("-_./:\\'’@&+#~")
"""Characters that a reader takes for a part of the word: user_id, e-mail, v3.7."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Tokens that follow one another. An `open` phrase may end within one: a single character, which begins a pair."""

    tokens: tuple[str, ...]
    open: bool = False

    @property
    def needle(self) -> str:
        """The text to look for among a document's words, when these have blanks around them."""
        return f" {' '.join(self.tokens)}{'' if self.open else ' '}"


@dataclass(frozen=True, slots=True)
class Term:
    """A part of a query. Any of its alternatives may match; the first is what was typed."""

    alternatives: tuple[Phrase, ...]


def parse(query: str, most: int = MOST_TOKENS) -> tuple[Term, ...]:
    """The terms of a query, all of which are wanted; none where it holds no word. At most so many tokens count."""
    return tuple(Term((phrase,)) for phrase in dict.fromkeys(_phrases(query, most)))


def without_symbols(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms that hold words; all terms where none does."""
    return tuple(term for term in terms if not all(map(is_symbol, term.alternatives[0].tokens))) or terms


def single_tokens(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The same query with each token as a term of its own; without symbols, unless it has nothing else."""
    single: dict[Term, None] = {}
    for term in terms:
        if len(term.alternatives[0].tokens) == 1:
            single[term] = None
        else:
            single |= dict.fromkeys(Term((Phrase((token,)),)) for token in term.alternatives[0].tokens)
    return without_symbols(tuple(single))


def identifiers(query: str, most: int = MOST_TOKENS) -> tuple[Phrase, ...]:
    """The terms of a query that may name one thing: part numbers, amounts, dates (`ZX-81-4`, `v3.7.1`, `10443`).

    They have at least SHORTEST_IDENTIFIER characters, joints included, and a digit among them. Where a script without
    blanks goes on before or behind (型番ZX-81-4の), an identifier is what stands between its characters.
    """
    phrases: dict[Phrase, None] = {}
    for joined in _joined(query, most):
        for has_blanks, run in groupby(joined, key=lambda token: not token.first):
            words = list(run)
            text = query[words[0].start : words[-1].end]
            if has_blanks and len(text) >= SHORTEST_IDENTIFIER and any(map(str.isdigit, text)):
                phrases[Phrase(tuple(token.text for token in words))] = None
    return tuple(phrases)


def _phrases(query: str, most: int) -> Iterator[Phrase]:
    for joined in _joined(query, most):
        yield _phrase(joined)


def _joined(query: str, most: int) -> Iterator[list[Token]]:
    """Tokens with nothing between them, or with joints alone, stand together."""
    joined: list[Token] = []
    for token in islice(tokens(query), most):
        if joined and not _JOINTS.issuperset(query[joined[-1].end : token.start]):
            yield joined
            joined = []
        joined.append(token)
    if joined:
        yield joined


def _phrase(joined: list[Token]) -> Phrase:
    """Tokens as one phrase.

    Where a run without blanks ends in the query, a text may go on, and its last character then begins a pair. So that
    character is left out if the pair before it holds it; else it makes the phrase open.
    """
    texts = tuple(token.text for token in joined)
    if joined[-1].text != joined[-1].first:
        return Phrase(texts)
    if len(joined) > 1 and joined[-2].first and joined[-2].end == joined[-1].end:
        return Phrase(texts[:-1])
    return Phrase(texts, open=True)
