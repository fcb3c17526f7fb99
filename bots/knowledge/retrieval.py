"""Finds the passages of a bot's own index that fit a query, by words and by meaning.

The bot's present index answers, whatever version of the bot asks: of the version are the settings of the search.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal

from django.conf import settings
from django.db.models import F, QuerySet

from bedrock_chat.search import fusion
from bedrock_chat.search.fusion import NO_WORDS, Fused, Words
from bedrock_chat.search.passages import searching as by_words
from bedrock_chat.search.vectors import searching as by_meaning
from bots import configuration as configurations
from bots.configuration import Configuration
from bots.knowledge import joining, linking, querying
from bots.knowledge.configuration import undivided
from bots.knowledge.joining import Piece, Window
from bots.knowledge.models import Chunk, Edition, Knowledge
from bots.knowledge.querying import NotEmbedded, Stopped
from bots.tools.tool import Context

if TYPE_CHECKING:
    from bots.chatting import ChattingBot

logger = logging.getLogger(__name__)

USUAL_RESULTS: Final = 20
MOST_RESULTS: Final = 100
SEMANTIC: Final = "semantic"
CANDIDATES: Final = 200
"""By words, and as many by meaning."""
SPARE: Final = 50
"""So many more chunks are read than passages are wanted: equal texts are answered once."""
WINDOWS_AT_ONCE: Final = 24
"""Windows of a whole document that are read at a time: the shortest model's fill a result."""
WORDS_ALONE: Final = "The documents were searched by words alone, since the embeddings model did not answer."
NO_MEANING: Final = "The embeddings model did not answer, so the documents cannot be searched now. Try again later."
NOTHING_INDEXED: Final = "Nothing is indexed yet, so there is nothing to search."
NOTHING_FOUND: Final = "The knowledge base found nothing for this query."

__all__ = ["Passage", "RetrievalFault", "Retrieved", "Stopped", "retrieve"]


class RetrievalFault(Exception):
    """Why nothing was found: one sentence, ours, which model and user read."""

    def __init__(self, sentence: str, outcome: Literal["empty", "missing", "unreachable", "throttled"]) -> None:
        self.sentence = sentence
        self.outcome: Literal["empty", "missing", "unreachable", "throttled"] = outcome
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a document. `document` is the document's number, `chunks` the keys of what the passage was made of.

    `score` is that of the order, `similarity` (None: not known) and `words` are what it is made of. `link` is the
    document's address now; None where it has none.
    """

    text: str
    score: float
    similarity: float | None
    words: float
    document: int
    name: str
    page: int | None
    chunks: tuple[int, ...]
    link: str | None


@dataclass(frozen=True, slots=True)
class Retrieved:
    """Passages, the best first. `note` is a sentence about the search, where it was not all that it should be."""

    passages: tuple[Passage, ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """The index that serves a bot's searches. `total` counts the chunks that can be found."""

    pk: int
    knowledge: int
    model: str
    total: int


def retrieve(bot: "ChattingBot", query: str, context: Context) -> Retrieved:
    """The passages that fit a query, of live editions of this bot's documents alone.

    1. The query is cut, and found by its words, unless the bot wants the meaning alone.
    2. The query gets its vector, while no connection to the database is held.
    3. What is near in meaning, and what words found, become one order.
    4. Chunks become passages: parents in the place of their children, documents that are not to be cut in the place of
       their windows, neighbours joined, equal texts once.
    5. As many as the bot wants are taken, whole, while they fit the bound of results and half the model's window.

    Raises RetrievalFault where nothing is indexed or found, or the meaning was wanted and could not be had; Stopped.
    """
    words = query[: querying.LONGEST_QUERY]
    index = _index(bot.id)
    if index is None or not index.total:
        raise RetrievalFault(NOTHING_INDEXED, "missing")
    fused, note = _found(index, words, context, is_semantic=_is_semantic(bot.configuration))
    if context.interruption.requested:
        raise Stopped
    pieces = _pieces(index, fused, _most_results(bot.configuration))
    if not pieces:
        raise RetrievalFault(NOTHING_FOUND, "empty")
    window = context.context_window
    most_tokens = None if window is None else window // 2
    joined = joining.joined(pieces, settings.TOOL_RESULT_CHARS)
    room = settings.TOOL_RESULT_CHARS - len(note)
    return Retrieved(_passages(list(joining.fitting(joined, room, most_tokens)), bot.id), note)


def _index(bot_id: str) -> Index | None:
    columns = ("serving", "pk", "serving__model", "serving__chunks")
    row = Knowledge.objects.filter(bot=bot_id, serving__isnull=False).values_list(*columns).first()
    return None if row is None else Index(*row)


def _is_semantic(configuration: Configuration) -> bool:
    return str(configurations.search_params(configuration).get("search_type") or "").lower() == SEMANTIC


def _most_results(configuration: Configuration) -> int:
    wanted = configurations.search_params(configuration).get("max_results") or USUAL_RESULTS
    return max(1, min(int(wanted), MOST_RESULTS))


# ---- Both searches --------------------------------------------------------------------------------------------------


def _found(index: Index, query: str, context: Context, *, is_semantic: bool) -> tuple[list[Fused], str]:
    """The order of both searches, and a note where one of them is missing."""
    live = Edition.objects.live(index.pk)
    words = (
        NO_WORDS if is_semantic else by_words.find(index.knowledge, query, live, total=index.total, limit=CANDIDATES)
    )
    try:
        vector = querying.embed(index.model, query, context)
    except NotEmbedded as error:
        logger.warning("a query could not be embedded: %s", type(error.__cause__).__name__)
        if is_semantic:
            raise RetrievalFault(NO_MEANING, "unreachable") from None
        return fusion.fuse({}, words), WORDS_ALONE
    return fusion.fuse(_similar(index, vector, words), words), ""


def _similar(index: Index, vector: Sequence[float], words: Words) -> dict[int, float]:
    """Key → similarity: of the nearest, and of what only words found."""
    similar = dict(by_meaning.nearest(index.pk, vector, limit=CANDIDATES))
    others = ({key for key, _ in words.hits} | words.identifiers) - similar.keys()
    return similar | by_meaning.similarities(index.pk, vector, others) if others else similar


# ---- Passages -------------------------------------------------------------------------------------------------------


def _pieces(index: Index, fused: Sequence[Fused], most: int) -> list[Piece]:
    """What answers, the best first and each text once: the chunks that were found, parents in the place of theirs, and
    of a document that is not to be cut one of its windows, which `_whole` makes the document.

    One query finds out which chunks are live, and one reads the texts of those that answer.
    """
    live = Chunk.objects.filter(index=index.pk, edition__in=Edition.objects.live(index.pk))
    columns = ("pk", "parent", "edition", "edition__cut")
    rows = {pk: facts for pk, *facts in live.filter(pk__in=[row.key for row in fused]).values_list(*columns)}
    cut_of_whole = undivided(index.model)
    first: dict[int, int] = {}  # edition of a whole document → its window that was found first
    found_of: dict[int, list[Fused]] = {}  # what answers → what was found of it, the best first
    for row in fused:
        if row.key in rows:
            parent, edition, cut = rows[row.key]
            answer = first.setdefault(edition, row.key) if cut == cut_of_whole else parent or row.key
            found_of.setdefault(answer, []).append(row)
    chosen = list(found_of)[: most + SPARE]
    pieces = [_piece(row, found_of[row.pk]) for row in _read(live, chosen)]
    return joining.distinct(_with_whole(pieces, first.keys()))[:most]


def _read(live: "QuerySet[Chunk]", keys: Sequence[int]) -> list[Any]:
    """These of the live chunks in this order, annotated with their documents."""
    columns = ("edition", "position", "page", "text", "start", "end", "is_parent")
    rows = live.filter(pk__in=keys).annotate(document=F("edition__document")).only(*columns).in_bulk()
    return [rows[pk] for pk in keys if pk in rows]


def _with_whole(pieces: Sequence[Piece], editions: Collection[int]) -> list[Piece]:
    """The pieces, those of these editions as whole documents, as long as there is room for their texts in a result."""
    room: int = settings.TOOL_RESULT_CHARS
    whole: list[Piece] = []
    for piece in pieces:
        if piece.edition in editions and room > 0:
            whole.append(replace(piece, text=_text_around(piece), is_parent=True))
        else:
            whole.append(piece)
        room -= len(whole[-1].text)
    return whole


def _text_around(piece: Piece) -> str:
    """The text of a window's document from its beginning, as far as a result has room for it; where that does not
    reach the window, from the window on.
    """
    windows = Chunk.objects.filter(edition=piece.edition, is_parent=False).order_by("position")
    text, last = joining.stretch(_windows(windows), settings.TOOL_RESULT_CHARS)
    if last < piece.first:
        text, _ = joining.stretch(_windows(windows.filter(position__gte=piece.first)), settings.TOOL_RESULT_CHARS)
    return text


def _windows(rows: "QuerySet[Chunk]") -> Iterator[Window]:
    """The windows of a document, a few at a time: a result has room for few of them."""
    start = 0
    while some := rows.values_list("position", "page", "text", "start", "end")[start : start + WINDOWS_AT_ONCE]:
        yield from (Window(*row) for row in some)
        start += WINDOWS_AT_ONCE


def _piece(row: Any, fused: Sequence[Fused]) -> Piece:
    """A chunk that answers, annotated with its document, and what was found of it."""
    best = fused[0]
    return Piece(
        tuple(child.key for child in fused),
        row.document,
        row.edition_id,
        row.position,
        row.position,
        row.page,
        row.text,
        row.start,
        row.end,
        is_parent=row.is_parent,
        score=best.score,
        similarity=best.similarity,
        words=best.words,
    )


def _passages(pieces: Sequence[Piece], bot_id: str) -> tuple[Passage, ...]:
    """The passages with names and addresses. A document that went just now takes its passages along."""
    places = linking.places({piece.document for piece in pieces}, bot_id)
    addresses = linking.of_places(places)
    return tuple(
        Passage(
            piece.text,
            piece.score,
            piece.similarity,
            piece.words,
            piece.document,
            places[piece.document].source_name,
            piece.page,
            piece.chunks,
            addresses.get(piece.document),
        )
        for piece in pieces
        if piece.document in places
    )
