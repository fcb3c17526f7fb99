"""A search, from the words that somebody typed to the groups that answer them.

What is asked for as it stands comes first. Only where nothing answers, words are taken for beginnings, and those that
nobody of the scope has used for mistyped ones; and only where nothing answers that either, some of the words will do.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bedrock_chat.search import lookup, query, ranking, typos
from bedrock_chat.search import vocabulary as vocabularies
from bedrock_chat.search.query import Phrase, Term
from bedrock_chat.search.ranking import Hit
from bedrock_chat.search.tokenizer import is_spaceless

MOST_GUESSED: Final = 8
"""Words of a query that are taken for beginnings, and for mistyped ones."""


@dataclass(frozen=True, slots=True)
class Found:
    """Groups, the best first, and what they answer: the terms to highlight."""

    hits: list[Hit]
    terms: tuple[Term, ...]


def find(kind: str, scopes: Sequence[str], vocabulary: str, text: str) -> Found:
    """The groups within the scopes that answer a query. Words are corrected to those of the vocabulary alone."""
    asked = query.parse(text)
    if not asked:
        return Found([], ())
    if hits := _search(kind, scopes, asked, every=True):
        return Found(hits, asked)
    meant = _meant(asked, vocabularies.number(vocabulary))
    if meant != asked and (hits := _search(kind, scopes, meant, every=True)):
        return Found(hits, meant)
    apart = query.apart(meant)
    return Found(_search(kind, scopes, apart, every=False), apart)


def _search(kind: str, scopes: Sequence[str], terms: tuple[Term, ...], *, every: bool) -> list[Hit]:
    return ranking.rank(lookup.candidates(kind, scopes, terms, every=every), terms, every=every)


def _meant(asked: tuple[Term, ...], vocabulary: int) -> tuple[Term, ...]:
    """The query with what else its words may mean: a phrase's last may go on, and each may be mistyped."""
    phrases = [term.alternatives[0] for term in asked]
    single = {token for phrase in phrases for token in phrase.tokens if not is_spaceless(token)}
    known = vocabularies.known(vocabulary, single)
    last = [phrase.tokens[-1] for phrase in phrases if phrase.tokens[-1] in single]
    longer = {token: vocabularies.longer(vocabulary, token) for token in last[:MOST_GUESSED]}
    unknown = [token for token in single if token not in known and not longer.get(token)]
    near = vocabularies.near(vocabulary, unknown)

    def options(token: str, *, go_on: bool) -> list[str]:
        """The likeliest first; itself where nothing else is known."""
        found = [token] if token in known else []
        found += longer.get(token, ()) if go_on else ()
        return found or (typos.corrections(token, near) if token in unknown[:MOST_GUESSED] else []) or [token]

    meant = []
    for phrase in phrases:
        head = tuple(options(token, go_on=False)[0] for token in phrase.tokens[:-1])
        ends = [phrase.tokens[-1]] if phrase.open else options(phrase.tokens[-1], go_on=True)
        meant.append(Term(tuple(Phrase((*head, end), phrase.open) for end in ends)))
    return tuple(meant)
