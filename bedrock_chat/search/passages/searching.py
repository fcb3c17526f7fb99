"""Finds passages by the words of a question.

1. The question is cut into its words. How many passages hold each one is counted, up to a bound.
2. A word that no passage holds may be a typo: words of the same scope that are near count too, a little less.
3. Candidates are drawn for the rarest words first. Frequent words draw none, unless the question has no others.
4. The candidates are ranked by all words of the question, the frequent ones too.
5. Passages that hold a rare identifier of the question are named, so that they can come first.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.core.exceptions import EmptyResultSet
from django.db.models import QuerySet

from bedrock_chat.search import query as queries
from bedrock_chat.search import typos
from bedrock_chat.search import vocabulary as vocabularies
from bedrock_chat.search.fusion import NO_WORDS, Words
from bedrock_chat.search.passages import lookup, ranking
from bedrock_chat.search.passages.indexing import SAMPLED, vocabulary_of
from bedrock_chat.search.passages.lookup import LiveGroups, Passage
from bedrock_chat.search.query import Phrase, Term
from bedrock_chat.search.tokenizer import is_word

MOST_CHARACTERS: Final = 2_000
"""Of a query, from its beginning."""
MOST_CANDIDATES: Final = 200
FREQUENT_SHARE: Final = 10
"""A word is frequent where over a tenth of the passages hold it,"""
MOST_COUNTED: Final = 5_000
"""or over so many."""
FEWEST_FREQUENT: Final = 20
"""No word is frequent that so few passages hold: to read them costs nothing, and a bot of 15 passages has no tenth."""
FEWEST_SAMPLED: Final = 50
"""Passages of a sample below which it tells nothing; all are counted then."""
FEWEST_TO_ESTIMATE: Final = 16
"""Sampled passages with a word from which on their number tells how many there are in all, to a quarter or better."""
RARE_IDENTIFIER: Final = 5
"""An identifier is rare where fewer passages hold it."""
MOST_IDENTIFIERS: Final = 8
MOST_GUESSED: Final = 8


@dataclass(frozen=True, slots=True)
class Counted:
    """A term of the query, and how many passages hold it. Of a frequent one `frequency` is the bound it is over."""

    term: Term
    frequency: int
    is_frequent: bool = False


def find(scope: int, query: str, live_groups: QuerySet[Any], *, total: int, limit: int = MOST_CANDIDATES) -> Words:
    """Passages within the scope, of groups that are among `live_groups`, by the words of a query, the best first.

    `live_groups` is a queryset of rows whose primary keys are groups. `total` is the number of their passages.
    """
    text = query[:MOST_CHARACTERS]
    terms = queries.single_tokens(queries.parse(text))
    if not terms or total <= 0:
        return NO_WORDS
    try:
        live = LiveGroups(live_groups)
    except EmptyResultSet:
        return NO_WORDS
    counted = _corrected(scope, _counted(scope, terms, total), total)
    identified = _identified(scope, text, live)
    candidates = {passage.id: passage for passage in identified} | _drawn(scope, counted, live, limit)
    weights = [ranking.weight(word.frequency, total) for word in counted]
    rows = list(candidates.values())
    scores = ranking.score([passage.words for passage in rows], [word.term for word in counted], weights)
    hits = sorted(
        ((passage.key, score) for passage, score in zip(rows, scores, strict=True)), key=lambda hit: (-hit[1], hit[0])
    )
    return Words(tuple(hits), ranking.attainable(weights), frozenset(passage.key for passage in identified))


def _counted(scope: int, terms: Sequence[Term], total: int) -> list[Counted]:
    """The terms with their frequencies: those of frequent words from the sample, the others counted.

    To count a word, PostgreSQL compares long lists and reads rows, 5 to 20 ms where there are 100,000 passages.
    """
    bound = max(FEWEST_FREQUENT, min(total // FREQUENT_SHARE, MOST_COUNTED))
    frequencies: dict[Term, int] = {}
    if total >= FEWEST_SAMPLED * SAMPLED:
        most = max(bound // SAMPLED, FEWEST_TO_ESTIMATE) + 1
        sampled = lookup.counts([lookup.sample_expression(scope, term) for term in terms], most)
        for term, count in zip(terms, sampled, strict=True):
            if count >= FEWEST_TO_ESTIMATE:
                frequencies[term] = count * SAMPLED
    others = [term for term in terms if term not in frequencies]
    counts = lookup.counts([lookup.expression(scope, term) for term in others], bound + 1)
    frequencies |= zip(others, counts, strict=True)
    return [Counted(term, min(frequencies[term], bound), frequencies[term] > bound) for term in terms]


def _corrected(scope: int, counted: Sequence[Counted], total: int) -> list[Counted]:
    """The terms; one that no passage holds has the words that it may be a typo of as alternatives, and their count."""
    words = [word.term.alternatives[0].tokens[0] for word in counted if not word.frequency]
    unknown = [word for word in words if is_word(word) and typos.edits(word)][:MOST_GUESSED]
    if not unknown:
        return list(counted)
    similar = vocabularies.beginning_alike(vocabularies.number(vocabulary_of(scope)), unknown)
    guesses = {word: corrections for word in unknown if (corrections := typos.corrections(word, similar))}
    guessed = {
        Term((Phrase((word,)),)): Term((Phrase((word,)), *(Phrase((guess,)) for guess in corrections)))
        for word, corrections in guesses.items()
    }
    recounted = {word.term: word for word in _counted(scope, list(guessed.values()), total)}
    return [recounted[guessed[word.term]] if word.term in guessed else word for word in counted]


def _drawn(scope: int, counted: Sequence[Counted], live: LiveGroups, limit: int) -> dict[int, Passage]:
    """Up to `limit` passages, by the id of their row: those with the rarest words first."""
    present = [word for word in counted if word.frequency]
    drawing = [word for word in present if not word.is_frequent] or present
    drawn: dict[int, Passage] = {}
    for word in sorted(drawing, key=lambda word: word.frequency):
        if len(drawn) >= limit:
            break
        expression = lookup.expression(scope, word.term)
        for passage in lookup.passages(expression, live, limit):
            if len(drawn) < limit:
                drawn[passage.id] = passage
    return drawn


def _identified(scope: int, text: str, live: LiveGroups) -> list[Passage]:
    """The passages that hold an identifier of the query which fewer than RARE_IDENTIFIER passages hold."""
    identified: dict[int, Passage] = {}
    for phrase in queries.identifiers(text)[:MOST_IDENTIFIERS]:
        passages = lookup.holding(scope, phrase, live, RARE_IDENTIFIER)
        if len(passages) < RARE_IDENTIFIER:
            identified |= {passage.id: passage for passage in passages}
    return list(identified.values())
