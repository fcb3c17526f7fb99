"""How far a bot's knowledge is, in the words of the wire: computed from the rows when a sync ends, and shown together
with how far its guardrail is.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, NamedTuple

from django.db.models import Count, OuterRef, Subquery

from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs.models import Worker
from bots.configuration import searches_own_index
from bots.knowledge.models import LONGEST_REASON, Document, Knowledge, Source, SourceKind
from bots.knowledge.sources import crawling, kinds
from bots.knowledge.sources.locations import SourceFault
from bots.knowledge.states import Blame, DocumentState, SourceState
from bots.models import Bot, SyncStatus

SUCCEEDED: Final = "Knowledge base sync succeeded"
NO_WORKER: Final = "No worker is running."
NOTHING_LISTED: Final = "nothing there is of a type that is read."
PATIENCE: Final = timedelta(seconds=30)
"""How long a sync may wait for a worker without a word."""
MOST_NOTES: Final = 5
SHARED: Final = "shared"
"""In the `listing` of a seed: its page leads to what it covers, and what another source owns."""
ORDER: Final = (SyncStatus.RUNNING, SyncStatus.QUEUED, SyncStatus.FAILED, SyncStatus.SUCCEEDED)
"""Of two states of a bot the first one in this order shows."""

State = tuple[SyncStatus, str]


# ---- When a sync ends -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SourceOutcome:
    """What became of one source. `has_failed`: it could not name its documents; those of before may be found still.
    `listed` is how many it named, which others may own, and `open` how many of its own the sync has not come to.
    `reason` is why it yielded nothing, if so, and `blame` whose fault that is. `note` is what of it was not read.
    """

    name: str
    has_failed: bool
    ready: int
    failed: int
    listed: int
    open: int
    reason: str
    blame: Blame
    note: str

    @property
    def yielded_nothing(self) -> bool:
        return self.has_failed or (self.ready == 0 and self.listed <= self.failed and not self.open)


class Outcome(NamedTuple):
    """What a sync has come to. `blame`: whose fault it is that it failed, the operators' before others'."""

    state: SyncStatus
    reason: str
    blame: Blame | Literal[""] = ""


def outcome(knowledge: Knowledge, limit_reason: str, limit_blame: Blame = Blame.OWNER) -> Outcome:
    """What the sync has come to, in five queries at most, however many documents there are.

    A limit or a source that yielded nothing makes it fail; what could be had is found all the same.
    """
    documents = Document.objects.filter(knowledge=knowledge).exclude(state=DocumentState.REMOVED)
    outcomes = list(_outcomes(knowledge))
    # What operators have to mend comes first: of many sentences the last ones are left out.
    failed = sorted(
        (source for source in outcomes if source.yielded_nothing),
        key=lambda source: source.blame != Blame.OPERATOR,
    )
    reasons = [(limit_reason, limit_blame)] if limit_reason else []
    reasons += [(f"{source.name}: {source.reason}", source.blame) for source in failed]
    if reasons:
        blame = min((blame for _, blame in reasons), key=list(Blame).index)
        return Outcome(SyncStatus.FAILED, joined([sentence for sentence, _ in reasons]), blame)
    unread = sum(source.failed for source in outcomes)
    reason = SUCCEEDED
    if unread:
        reason += f"; {unread} of {unread + sum(source.ready for source in outcomes)} pages could not be read"
    of_documents = documents.filter(state=DocumentState.READY).exclude(note="").order_by("pk")
    notes = [(source.name, source.note) for source in outcomes if source.note]
    notes += [(kinds.seen(name), note) for name, note in of_documents.values_list("name", "note")[:MOST_NOTES]]
    for name, note in notes[:MOST_NOTES]:
        reason += f"; {name}: {note.rstrip('.')}"
    return Outcome(SyncStatus.SUCCEEDED, shortened(reason))


def _outcomes(knowledge: Knowledge) -> Sequence[SourceOutcome]:
    """Each source, in the order in which the bot names them."""
    counts: dict[int, dict[str, int]] = {}
    rows = Document.objects.filter(knowledge=knowledge).order_by().values_list("source", "state")
    for source, state, number in rows.annotate(number=Count("pk")):
        counts.setdefault(source, {})[state] = number
    first = Document.objects.filter(source=OuterRef("pk"), state=DocumentState.FAILED).order_by("pk")
    sources = Source.objects.filter(knowledge=knowledge, is_removed=False).order_by("place")
    annotated = sources.annotate(
        document_reason=Subquery(first.values("reason")[:1]),
        document_blame=Subquery(first.values("blame")[:1]),
    )
    found_elsewhere = _found_elsewhere(knowledge, annotated, counts)
    outcomes = []
    for source in annotated:
        by_state = counts.get(source.pk, {})
        ready, failed = by_state.get(DocumentState.READY, 0), by_state.get(DocumentState.FAILED, 0)
        listed = int(source.listing.get("listed", 0)) if source.kind != SourceKind.WEB else 0
        if source.pk in found_elsewhere or source.listing.get(SHARED):
            listed = failed + 1  # another source owns its pages
        reason = source.reason or source.document_reason or NOTHING_LISTED
        blame = Blame(source.blame or source.document_blame or Blame.SOURCE)
        unread = by_state.get(DocumentState.WAITING, 0) + by_state.get(DocumentState.READ, 0)
        outcomes.append(
            SourceOutcome(
                name_of(source),
                has_failed=source.state == SourceState.FAILED,
                ready=ready,
                failed=failed,
                listed=listed,
                open=unread,
                reason=reason,
                blame=blame,
                note=note_of(source),
            )
        )
    return outcomes


def _found_elsewhere(
    knowledge: Knowledge, sources: Iterable[Source], counts: Mapping[int, Mapping[str, int]]
) -> set[int]:
    """The keys of seeds without a document that is found, whose own page is found as one of another source's."""
    addresses: dict[int, str] = {}
    for source in sources:
        if source.kind == SourceKind.WEB and not counts.get(source.pk, {}).get(DocumentState.READY):
            with suppress(SourceFault):
                addresses[source.pk] = crawling.address_of(source.location)
    ready = Document.objects.filter(knowledge=knowledge, state=DocumentState.READY, location__in=addresses.values())
    locations = set(ready.values_list("location", flat=True)) if addresses else set()
    return {pk for pk, address in addresses.items() if address in locations}


def note_of(source: Source) -> str:
    """What of a list of many parts was not read, such as one of several sitemaps; empty where that is all of it."""
    return str(source.listing.get("note", "")) if source.state == SourceState.LISTED else ""


def name_of(source: Source) -> str:
    """A source in a sentence. Of an address neither a query is told nor a name and a password."""
    scheme, separator, rest = source.location.partition("?")[0].partition("://")
    if not separator:
        return kinds.seen(source.location if source.kind == SourceKind.FILE else scheme)
    host, slash, path = rest.partition("/")
    return kinds.seen(f"{scheme}://{host.rpartition('@')[2]}{slash}{path}")


def joined(sentences: Sequence[str]) -> str:
    """Sentences in one reason, the worst first; those that do not fit are left out. Equal ones are told once: addresses
    may differ in their queries alone, which are not shown.
    """
    reason = ""
    different = list(dict.fromkeys(sentences))
    for number, sentence in enumerate(different):
        longer = f"{reason} {sentence}".strip()
        if len(longer) > LONGEST_REASON - 40:
            return shortened(reason or sentence) + f" And {len(different) - number} more." * bool(reason)
        reason = longer
    return reason


def shortened(reason: str) -> str:
    return reason if len(reason) <= LONGEST_REASON else reason[: LONGEST_REASON - 1] + "…"


# ---- Shown ----------------------------------------------------------------------------------------------------------


def shown(guardrail: str, knowledge: str | None) -> SyncStatus:
    """The state that a bot's guardrail and its knowledge, if it has any, have together."""
    states = [SyncStatus(state) for state in (guardrail, knowledge) if state is not None]
    return min(states, key=ORDER.index)


def of_bot(bot: Bot) -> State:
    """How far a bot is, with the reasons of both, as who may edit it reads it.

    One query where its knowledge was not read with it, and one more where a sync waits for long.
    """
    knowledge = _knowledge_of(bot)
    if knowledge is None:
        return SyncStatus(bot.sync_status), bot.sync_status_reason
    state, reason = of_knowledge(knowledge)
    both = shown(bot.sync_status, state)
    if both != SyncStatus.SUCCEEDED and state == SyncStatus.SUCCEEDED:
        reason = ""  # or a failure would read as a success
    return both, shortened(" ".join(filter(None, (reason, bot.sync_status_reason))))


def has_index(bot: Bot) -> bool:
    """Whether a search finds anything of what the bot has to index. True where it has nothing to index."""
    if not searches_own_index(bot.configuration):
        return True
    knowledge = _knowledge_of(bot)
    return knowledge is not None and knowledge.serving is not None and knowledge.serving.chunks > 0


def _knowledge_of(bot: Bot) -> Knowledge | None:
    """None where the bot has nothing to index now, whatever it had."""
    return getattr(bot, "knowledge", None) if searches_own_index(bot.configuration) else None


def of_knowledge(knowledge: Knowledge) -> State:
    """As it is stored; but a sync that no worker will begin, or go on with, says so."""
    state, reason = SyncStatus(knowledge.sync_status), kinds.seen(knowledge.sync_status_reason)
    if state in (SyncStatus.QUEUED, SyncStatus.RUNNING) and not reason:
        now = database_now()
        moved_at = max(knowledge.asked_at, knowledge.moved_at or knowledge.asked_at)
        alive = Worker.objects.filter(seen_at__gt=now - PATIENCE)
        if moved_at < now - PATIENCE and not alive.exists():
            return state, NO_WORKER
    return state, reason
