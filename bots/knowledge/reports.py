"""What became of a bot's sources and documents, for who may edit the bot: a constant number of queries each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from django.db.models import Count, F, OuterRef, QuerySet, Subquery, Sum

from bedrock_chat.identity.caller import Caller
from bots import access
from bots.knowledge import status
from bots.knowledge.models import Document, Edition, Knowledge, KnowledgeIndex, Source
from bots.knowledge.states import DocumentState, EditionState, SourceState
from bots.models import Bot

SHOWN: Final = (
    DocumentState.WAITING,
    DocumentState.READ,
    DocumentState.READY,
    DocumentState.FAILED,
    DocumentState.SKIPPED,
)


@dataclass(frozen=True, slots=True)
class SourceReport:
    """A source, the number of its documents by state, and the tokens that were embedded for them.

    `state` and `reason` are the source's own, the reason also what of a list was not read. One that was listed and has
    nothing but documents that failed has failed too, for the reason of the first of them.
    """

    source: Source
    documents: dict[str, int]
    tokens: int
    state: str
    reason: str


@dataclass(frozen=True, slots=True)
class KnowledgeReport:
    """How far a bot's knowledge is. `knowledge` is None where it never had any of its own."""

    state: status.State
    knowledge: Knowledge | None = None
    sources: Sequence[SourceReport] = field(default_factory=list)

    @property
    def documents(self) -> dict[str, int]:
        return {state: sum(source.documents[state] for source in self.sources) for state in SHOWN}

    @property
    def tokens(self) -> int:
        return sum(source.tokens for source in self.sources)

    @property
    def index(self) -> KnowledgeIndex | None:
        """The one that searches use."""
        return self.knowledge.serving if self.knowledge else None


def of_bot(bot_id: str, *, actor: Caller) -> KnowledgeReport:
    """The report, for the bot's owner or Admin. Raises NotFound and Forbidden."""
    return report(access.get_editable(actor, bot_id))


def report(bot: Bot) -> KnowledgeReport:
    knowledge = _knowledge_of(bot)
    if knowledge is None:
        return KnowledgeReport(status.of_bot(bot))
    by_source: dict[int, dict[str, int]] = {}
    tokens: dict[int, int] = {}
    rows = Document.objects.filter(knowledge=knowledge).exclude(state=DocumentState.REMOVED).order_by()
    counted = rows.values_list("source", "state").annotate(number=Count("pk"), spent=Sum("tokens", default=0))
    for source_pk, state, number, spent in counted:
        by_source.setdefault(source_pk, {})[state] = number
        tokens[source_pk] = tokens.get(source_pk, 0) + spent
    first_failed = Document.objects.filter(source=OuterRef("pk"), state=DocumentState.FAILED).order_by("pk")
    sources = Source.objects.filter(knowledge=knowledge, is_removed=False).order_by("place", "pk")
    reports = []
    for source in sources.annotate(document_reason=Subquery(first_failed.values("reason")[:1])):
        numbers = by_source.get(source.pk, {})
        has_only_failed = bool(source.document_reason) and numbers.keys() <= {
            DocumentState.FAILED,
            DocumentState.SKIPPED,
        }
        is_failed = source.state == SourceState.LISTED and has_only_failed
        reports.append(
            SourceReport(
                source,
                {state: numbers.get(state, 0) for state in SHOWN},
                tokens.get(source.pk, 0),
                SourceState.FAILED if is_failed else source.state,
                source.document_reason if is_failed else source.reason or status.note_of(source),
            )
        )
    return KnowledgeReport(status.of_bot(bot), knowledge, reports)


def documents(bot_id: str, *, state: str | None, after: int, limit: int, actor: Caller) -> "QuerySet[Document]":
    """Up to `limit` documents behind the one with the key `after`, in the order of their keys, for the bot's owner or
    Admin. Each has `chunks`, the number of its passages that can be found.

    Raises NotFound and Forbidden.
    """
    knowledge = _knowledge_of(access.get_editable(actor, bot_id))
    if knowledge is None:
        return Document.objects.none()
    live = Edition.objects.filter(document=OuterRef("pk"), index=knowledge.serving_id, state=EditionState.LIVE)
    rows = Document.objects.filter(knowledge=knowledge, pk__gt=after).annotate(
        chunks=Subquery(live.values("findable")[:1])
    )
    rows = rows.filter(state=state) if state else rows.exclude(state=DocumentState.REMOVED)
    return rows.annotate(source_kind=F("source__kind")).order_by("pk")[:limit]


def _knowledge_of(bot: Bot) -> Knowledge | None:
    return Knowledge.objects.select_related("serving").filter(bot_id=bot.pk).first()
