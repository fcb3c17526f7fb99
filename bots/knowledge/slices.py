"""A slice: the part of a bot's sync that one run of its job does, with what its steps share.

A sync makes most of its statements for each page, and composing them cost more than running them: those of every
transaction, and the others that look for equal columns alone, are compiled (`compiled_sql`).

All of its transactions go through `writing`, which locks the bot's `Knowledge` first and then the job: so nothing is
written by a worker that has lost the job, and a save and a slice never wait for each other in a circle.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.conf import settings
from django.db import transaction

from bedrock_chat.bedrock import embeddings, offering, pricing
from bedrock_chat.bedrock.embedding_models import EmbeddingModel
from bedrock_chat.bedrock.events import Usage
from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import NOW, Batch
from bedrock_chat.database.connections import yield_sqlite_lock
from bedrock_chat.identity.caller import Caller
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from bedrock_chat.ledger import embedding_calls
from bedrock_chat.ledger.budgets.reserving import Reserved
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.ledger.units import units_of, usd_of
from bedrock_chat.process.interruption import Interruption
from bots.knowledge.configuration import KnowledgeSettings
from bots.knowledge.models import Document, Knowledge, KnowledgeIndex
from bots.knowledge.sources.locations import FetchContext
from bots.knowledge.sources.scope import Web
from bots.knowledge.states import Blame, DocumentState

SHORT_PAUSES: Final = 1.0
LONG_PAUSES: Final = 3.0
"""What follows a transaction on SQLite, as a multiple of its length: most are far shorter than those that write words
and vectors, and a page needs half a dozen of them.
"""
UNPRICED_TOKENS: Final = 100_000_000
"""What a sync may embed with a model whose price is not known."""


@dataclass(slots=True, eq=False)
class Bill:
    """Calls that were paid for a bot's knowledge, with what was reserved for them. No calls: they were not made."""

    knowledge: int
    reservation: Reserved | None
    calls: list[ModelCall] = field(default_factory=list)


@dataclass(slots=True)
class Slice:
    """One turn of a sync.

    `revision` is the one that it works for, `sync` the number of its sync, `index` the index that it writes. `delay` is
    in how many seconds the next slice begins, and `waiting_for` the sentence that says why. `limit_reason` is the
    sentence of a limit, and `limit_blame` whose fault it is: the sync ends as failed, at once if `has_ended`.
    `retry_at` is when another sync begins then. `crawls`: pages of sites are fetched. `has_reached`: there may be
    documents that the slice has not looked at. `trouble` is the sentence of a disk or a storage that was away for one
    of them, and `troubles` how often that was since anything was done.
    `bills` are those of calls under way, and of calls whose rows are not in the ledger yet.
    `owners` are the keys of the sources that are seeds, by normalised URL, once they were read. `reached` is what this
    slice has reached: digests of a source and a location (`reaching`) → whether its links are followed.
    `newly_followed` are documents whose links are followed since this slice has reached them.
    """

    job: Claimed
    pk: int
    bot_id: str
    payer: Caller
    settings: KnowledgeSettings
    web: Web
    revision: int
    sync: int
    index: KnowledgeIndex
    began_at: datetime
    interruption: Interruption
    end: float
    spent: int = 0
    spent_tokens: int = 0
    promised: int = 0
    promised_tokens: int = 0
    passages: int = 0
    delay: float = 0.0
    waiting_for: str = ""
    limit_reason: str = ""
    limit_blame: Blame = Blame.OWNER
    has_ended: bool = False
    retry_at: datetime | None = None
    gives_way: bool = False
    crawls: bool = True
    has_reached: bool = True
    trouble: str = ""
    troubles: int = 0
    owners: dict[str, int] | None = None
    reached: dict[bytes, bool] = field(default_factory=dict)
    newly_followed: set[int] = field(default_factory=set)
    bills: list[Bill] = field(default_factory=list)
    _billed: list[Bill] = field(default_factory=list)
    _has_moved: bool = False
    context: FetchContext = field(init=False)
    model: EmbeddingModel = field(init=False)
    room: int = field(init=False)

    def __post_init__(self) -> None:
        self.model = embeddings.model(self.settings.model)
        documents = Document.objects.filter(knowledge=self.pk).exclude(state=DocumentState.REMOVED)
        self.room = settings.KNOWLEDGE_MAX_DOCUMENTS - documents.count()

    @property
    def is_over(self) -> bool:
        """Whether no further document or batch is begun."""
        return self.has_ended or self.is_cut_off

    @property
    def is_cut_off(self) -> bool:
        """Whether nothing goes on that costs nothing either: somebody else needs the place, or the bot was changed."""
        return self.is_called_off or time.monotonic() >= self.end

    @property
    def is_called_off(self) -> bool:
        """Whether the slice stops at once. One whose time alone is over comes a step further with each document that it
        has begun: a text that takes all of a slice to be cut would otherwise be cut for ever.
        """
        return self.gives_way or self.interruption.requested

    @contextmanager
    def writing(self, *, pauses: float = SHORT_PAUSES) -> Iterator[None]:
        """A transaction of the slice. Notices whether the bot was changed meanwhile. Raises LeaseLost.

        `pauses`: as for `yield_sqlite_lock`.
        """
        billed: list[Bill] = []
        with yield_sqlite_lock(pauses), transaction.atomic():
            self._hold()
            self._billed, self._has_moved = billed, False
            yield
        self.bills = [bill for bill in self.bills if bill not in billed]

    def _hold(self) -> None:
        """Locks the bot's `Knowledge` and then the job, in each transaction: little is read. Raises LeaseLost."""
        with Batch() as batch:
            rows = batch.select(Knowledge, ("wanted", "done", "bot_id"), {"pk": self.pk}, lock=True)
            claims = batch.select(Job, ("attempt",), self.job.fence, lock=True)
        if not rows.result or not claims.result:
            raise LeaseLost
        self._look_at(*rows.result[0])

    def lock(self) -> Knowledge:
        """Locks the bot's `Knowledge` in the transaction around this. Raises LeaseLost where there is none any more."""
        knowledge = Knowledge.objects.select_for_update().filter(pk=self.pk).first()
        if knowledge is None:
            raise LeaseLost
        self._look_at(knowledge.wanted, knowledge.done, knowledge.bot_id)
        return knowledge

    def _look_at(self, wanted: int, done: int, bot_id: str | None) -> None:
        """Gives way where the locked row is not as this slice has found it."""
        is_ended = done >= wanted  # somebody has cancelled the sync
        if wanted != self.revision or is_ended or bot_id is None:
            self.gives_way = True

    def moved(self) -> None:
        """Within `writing`: notes that the sync goes on. Then no disk is away that all of it needs."""
        self.troubles = 0
        if self._has_moved:
            return
        self._has_moved = True
        compiled_sql.update(Knowledge, {"pk": self.pk}, moved_at=NOW, away_since=None)

    # ---- Limits -----------------------------------------------------------------------------------------------------

    def note_limit(self, sentence: str) -> None:
        """What was read is brought to its end, and the sync says this then."""
        self.limit_reason = self.limit_reason or sentence

    def end_sync(self, sentence: str, *, blame: Blame = Blame.OWNER, retry_at: datetime | None = None) -> None:
        """Ends the sync with what it has by now."""
        self.limit_reason, self.limit_blame = sentence, blame
        self.retry_at, self.has_ended = retry_at, True

    def give_up_turn(self, seconds: float, sentence: str) -> None:
        """Ends the slice; the next one begins in so many seconds, and until then the sync says why it waits."""
        self.delay, self.waiting_for = max(self.delay, seconds), sentence
        self.end = 0.0

    def has_money(self) -> bool:
        """Whether another batch may be embedded, beside those under way. Else the sync ends, which this notes."""
        most: Decimal = settings.KNOWLEDGE_SYNC_MAX_COST
        if self.spent + self.promised >= units_of(most):
            self.end_sync(
                f"This sync has cost {usd_of(self.spent):.2f} USD, and {most.normalize():f} USD are what it may cost. "
                "What was read so far can be found."
            )
        elif self.spent_tokens + self.promised_tokens >= UNPRICED_TOKENS:
            self.end_sync(
                f"This sync has embedded {self.spent_tokens:,} tokens with a model whose price is not known, and may "
                "not embed more. What was read so far can be found."
            )
        return not self.has_ended

    @contextmanager
    def promising(self, texts: Sequence[str]) -> Iterator[None]:
        """Inside the block, what a batch will probably cost counts as if it were spent."""
        tokens = embeddings.tokens_of(texts)
        price = pricing.price(Usage(tokens, 0), offering.embedding_price_row(self.model))
        units, unpriced = (0, tokens) if price is None else (units_of(price), 0)
        self.promised += units
        self.promised_tokens += unpriced
        try:
            yield
        finally:
            self.promised -= units
            self.promised_tokens -= unpriced

    @contextmanager
    def making(self, passages: int) -> Iterator[bool]:
        """Inside the block, the passages of a document count as if they could be found. False where they are too many
        for the bot: then the sync ends.
        """
        most = settings.KNOWLEDGE_MAX_CHUNKS
        [(count,)] = compiled_sql.select(KnowledgeIndex, ("chunks",), {"pk": self.index.pk})
        has_room = count + self.passages + passages <= most
        if not has_room:
            self.end_sync(f"This bot's documents make more than {most:,} passages. Those that come last are left out.")
        self.passages += passages
        try:
            yield has_room
        finally:
            self.passages -= passages

    # ---- Money ------------------------------------------------------------------------------------------------------

    def owe(self, reservation: Reserved | None) -> Bill:
        """A bill for calls that are about to be made. Who makes them, on a thread perhaps, adds their rows to it."""
        bill = Bill(self.pk, reservation)
        self.bills.append(bill)
        return bill

    def pay(self, bills: Sequence[Bill]) -> None:
        """Within `writing`: the ledger's rows, beside what was bought."""
        self._billed += bills
        for bill in bills:
            self._write(bill)
        if any(bill.calls for bill in bills):
            self.moved()

    def settle(self) -> None:
        """Writes the bills that no transaction of the slice has written, whoever owns the job by now: the money is
        spent. Nothing runs any more that could add to them.
        """
        while self.bills:
            with yield_sqlite_lock(), transaction.atomic():
                self._write(self.bills[0])
            del self.bills[0]

    def _write(self, bill: Bill) -> None:
        """In the caller's transaction: the ledger's rows, counted for the sync."""
        units = sum(units_of(call.price) for call in bill.calls if call.price is not None)
        tokens = sum(call.input_tokens for call in bill.calls if call.price is None)
        self.spent += units
        self.spent_tokens += tokens
        if bill.calls:
            spent = {"sync_price": units, "sync_tokens": tokens}
            compiled_sql.update(Knowledge, {"pk": self.pk, "sync": self.sync}, spent)
        embedding_calls.write_all(bill.calls, bill.reservation)
