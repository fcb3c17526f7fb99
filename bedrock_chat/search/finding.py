"""A search, from the words that somebody typed to the groups that match them.

1. The query is looked up as it stands.
2. If nothing matches, its words may also be beginnings of words, and words that are not in the vocabulary may be typos.
3. If that matches nothing either, symbols between its words are left out.
4. If even that matches nothing, some of the words are enough.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bedrock_chat.search import lookup, query, ranking, typos
from bedrock_chat.search import vocabulary as vocabularies
from bedrock_chat.search.query import Phrase, Term
from bedrock_chat.search.ranking import Candidate, Hit
from bedrock_chat.search.tokenizer import is_word

MOST_GUESSED: Final = 8
"""Words of a query that may be completed, and words that may be corrected."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a query may mean. With `every`, a document has to hold all terms; without, some are enough."""

    terms: tuple[Term, ...]
    every: bool = True


@dataclass(frozen=True, slots=True)
class SearchResult:
    """Groups, the best first, and the terms that they match, to be highlighted."""

    hits: list[Hit]
    terms: tuple[Term, ...]


def find(kind: str, scopes: Sequence[str], vocabulary: str, text: str) -> SearchResult:
    """The groups within the scopes that match a query. Words are corrected only to those of the vocabulary."""
    terms: tuple[Term, ...] = ()
    for reading in readings(text, vocabulary):
        terms = reading.terms
        if hits := search(kind, scopes, reading):
            return SearchResult(hits, terms)
    return SearchResult([], terms)


def readings(text: str, vocabulary: str, most: int = query.MOST_TOKENS) -> Iterator[Reading]:
    """What a query may mean, the likeliest first; nothing where it holds no word. At most so many tokens of it count.

    Each is worked out when it is asked for: take the next one where the last one has found nothing.
    """
    terms = query.parse(text, most)
    if not terms:
        return
    yield Reading(terms)
    guessed = _guessed(terms, vocabularies.number(vocabulary))
    if guessed != terms:
        yield Reading(guessed)
    worded = query.without_symbols(guessed)
    if worded != guessed:
        yield Reading(worded)
    yield Reading(query.single_tokens(worded), every=False)


def search(
    kind: str,
    scopes: Sequence[str],
    reading: Reading,
    *,
    weights: Mapping[int, float] = ranking.WEIGHTS,
    also: Sequence[Candidate] = (),
) -> list[Hit]:
    """The groups within the scopes that match a reading of a query, the best first.

    `weights` are those of documents, by key. `also` are further documents that may match, in whatever scope they are.
    """
    candidates = {row.id: row for row in lookup.candidates(kind, scopes, reading.terms, every=reading.every)}
    candidates |= {row.id: row for row in also}
    return ranking.rank(list(candidates.values()), reading.terms, every=reading.every, weights=weights)


def _guessed(terms: tuple[Term, ...], vocabulary: int) -> tuple[Term, ...]:
    """The query with what its words may mean besides: the last word of a phrase may be a beginning, any word a typo.

    1. The words of the query that are in the vocabulary are looked up; pairs of characters are not guessed.
    2. The last word of each phrase is completed.
    3. Words that are neither known nor completed are corrected.
    4. In each phrase the last word gets all its options as alternatives, every other word the likeliest one.
    """
    phrases = [term.alternatives[0] for term in terms]
    words = {token for phrase in phrases for token in phrase.tokens if is_word(token)}
    known = vocabularies.known(vocabulary, words)
    last = [phrase.tokens[-1] for phrase in phrases if phrase.tokens[-1] in words]
    completions = {token: vocabularies.completions(vocabulary, token) for token in last[:MOST_GUESSED]}
    unknown = [token for token in words if token not in known and not completions.get(token)]
    similar = vocabularies.of_similar_length(vocabulary, unknown)

    def options(token: str, *, complete: bool) -> list[str]:
        """The likeliest first; the token itself where nothing else is known."""
        likely = [token] if token in known else []
        likely += completions.get(token, ()) if complete else ()
        return likely or (typos.corrections(token, similar) if token in unknown[:MOST_GUESSED] else []) or [token]

    guessed = []
    for phrase in phrases:
        head = tuple(options(token, complete=False)[0] for token in phrase.tokens[:-1])
        ends = [phrase.tokens[-1]] if phrase.open else options(phrase.tokens[-1], complete=True)
        guessed.append(Term(tuple(Phrase((*head, end), phrase.open) for end in ends)))
    return tuple(guessed)
