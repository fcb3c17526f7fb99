"""The job that syncs what a bot knows, in slices: each does what it can in its time, and puts itself into the queue.

Everything is in rows, so the next slice goes on where this one has ended, however it ended. A save raises the revision
that is wanted; the slice gives way, and the next one plans anew.
"""

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from django.conf import settings
from django.db import transaction

from bedrock_chat.blobs import storing
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import lines, queue
from bedrock_chat.jobs.queue import Claimed
from bedrock_chat.ledger import embedding_calls
from bedrock_chat.process.interruption import Interruption
from bots.knowledge import away, deleting, faults, frontier, indexes, listing, reaching, revisions, status
from bots.knowledge.attempts import Attempts
from bots.knowledge.configuration import KnowledgeSettings, Named, SourceName, settings_of
from bots.knowledge.frontier import Frontier
from bots.knowledge.hosts import Hosts
from bots.knowledge.lanes import Lanes
from bots.knowledge.models import Document, Knowledge, KnowledgeIndex, Source, SourceKind
from bots.knowledge.planning import StoredSource, plan_sources
from bots.knowledge.slices import Slice
from bots.knowledge.sources.locations import FetchContext, SourceFault
from bots.knowledge.sources.scope import Web
from bots.knowledge.states import SourceState
from bots.models import Bot, SyncStatus

logger = logging.getLogger(__name__)

LOOK_SECONDS: Final = 0.5
SUSPENDED: Final = "The owner of this bot is suspended; it is synced when that ends."


def sync(job: Claimed) -> None:
    """The job.

    1. One transaction plans: what is wanted against what is stored, if this is the first slice for a revision. Where
       other syncs wait, the job stands in line first: an owner's many bots keep nobody else's one waiting.
    2. Lists are asked, documents fetched, read, cut, embedded and shown, four at a time.
    3. One transaction finishes the job: the sync is through or has come to a limit, or another slice is asked for.
    """
    with job.ending.inner() as interruption:
        slice_ = _open(job, interruption)
        if slice_ is None:
            return
        hosts = Hosts()
        try:
            with _folder(slice_), _lanes(interruption) as lanes:
                _run(slice_, hosts, lanes)
        finally:
            slice_.settle()
        _close(slice_, hosts)


@contextmanager
def _folder(slice_: Slice) -> Iterator[None]:
    """Inside the block, documents are fetched into a folder of the slice's own. Where none can be made, the slice gives
    up its turn.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix="knowledge-", ignore_cleanup_errors=True)
    except OSError as error:
        faults.log(slice_.pk, error)
        away.wait(slice_, away.DISK_AWAY)
        yield
        return
    with folder as name:
        stored = storing.locate(entry["sha256"] for entry in slice_.settings.files.values())
        slice_.context = FetchContext(Path(name), slice_.interruption, stored)
        yield


def _run(slice_: Slice, hosts: Hosts, lanes: Lanes) -> None:
    """Begins works and goes on with them, until the slice is over or has nothing to do."""
    if not slice_.is_over:  # else it may have no folder
        slice_.context = replace(slice_.context, turn=lambda *hop: lanes.ask(partial(hosts.hop, *hop)))
    listing.begin(slice_)
    attempts = Attempts(slice_)
    upcoming = Frontier(slice_, hosts, attempts)
    while True:
        while lanes.has_room and not slice_.is_over and (work := upcoming.next(is_idle=not lanes)) is not None:
            lanes.begin(work)
        if not lanes:
            break
        lanes.step(LOOK_SECONDS)
        attempts.look()
    attempts.end()


@contextmanager
def _lanes(interruption: Interruption) -> Iterator[Lanes]:
    """Whatever ends the block, no errand runs afterwards."""
    lanes = Lanes()
    try:
        yield lanes
    except BaseException:
        interruption.request()
        raise
    finally:
        lanes.close()


# ---- Planning -------------------------------------------------------------------------------------------------------


def _open(job: Claimed, interruption: Interruption) -> Slice | None:
    """The slice; None where there is nothing to do, or others come first. The job is finished then, or stands in line
    behind those of others.
    """
    pk = job.payload["knowledge"]
    with transaction.atomic():
        knowledge = Knowledge.objects.select_for_update().filter(pk=pk).first()
        job.hold()
        bot = (
            None if knowledge is None else Bot.objects.select_related("owner").filter(pk=knowledge.bot_id or "").first()
        )
        if knowledge is None or bot is None or knowledge.wanted <= knowledge.done:
            job.finish()
            if knowledge is not None:
                deleting.ask(pk)
            return None
        if not bot.owner.is_active:
            job.finish()
            columns = {"sync_status": SyncStatus.QUEUED, "sync_status_reason": SUSPENDED, "blame": ""}
            Knowledge.objects.filter(pk=pk).update(**columns)
            deleting.ask(pk)  # an edit by an operator may have taken something out of reach
            return None
        if lines.stand(job, str(bot.owner_id), after=job.payload.get("after")):
            return None
        wanted = settings_of(bot.configuration)
        index = _index(knowledge, wanted) or _plan(knowledge, wanted)
        web = _web(pk, wanted)
    slice_ = Slice(
        job=job,
        pk=pk,
        bot_id=bot.pk,
        payer=embedding_calls.owner_pays(bot.owner),
        settings=wanted,
        web=web,
        revision=knowledge.wanted,
        sync=knowledge.sync,
        index=index,
        began_at=knowledge.began_at or database_now(),
        interruption=interruption,
        end=time.monotonic() + settings.KNOWLEDGE_SLICE_SECONDS,
        spent=knowledge.sync_price,
        spent_tokens=knowledge.sync_tokens,
        limit_reason=knowledge.limit_reason,
    )
    hours = settings.KNOWLEDGE_CRAWL_HOURS
    if database_now() - slice_.began_at >= timedelta(hours=hours) and frontier.has_pages(slice_):
        slice_.crawls = False
        slice_.note_limit(f"The crawl has taken {hours} hours; what it had not reached by then is left out.")
    return slice_


def _index(knowledge: Knowledge, wanted: KnowledgeSettings) -> KnowledgeIndex | None:
    """The index that the sync under way writes. None where there is no such sync: one has to be planned."""
    index = knowledge.making or knowledge.serving
    is_planned = knowledge.planned == knowledge.wanted and index is not None and index.model == wanted.model
    return index if is_planned else None


def _plan(knowledge: Knowledge, wanted: KnowledgeSettings) -> KnowledgeIndex:
    """Begins a sync for the revision that is wanted, in the transaction that has locked its row."""
    rows = Source.objects.filter(knowledge=knowledge, is_removed=False)
    stored = [
        StoredSource(pk, Named(cast("SourceName", kind), location), place)
        for pk, kind, location, place in rows.order_by("place").values_list("pk", "kind", "location", "place")
    ]
    plan = plan_sources(wanted.sources, stored)
    deleting.hide_unnamed(knowledge.pk, wanted.sources)
    for pk, place in plan.moved.items():
        Source.objects.filter(pk=pk).update(place=place)
    rows.update(state=SourceState.WAITING, reason="", blame="", listing={}, skipped=0)
    Source.objects.bulk_create(
        Source(knowledge=knowledge, kind=named.kind, location=named.location, place=place) for named, place in plan.new
    )
    if knowledge.full:
        Document.objects.filter(knowledge=knowledge).update(etag="", last_modified="", digest="", hint="")
    index = indexes.prepare(knowledge, wanted)
    indexes.remake(knowledge, index, wanted)
    indexes.reread(knowledge, wanted)
    now = database_now()
    knowledge.sync += 1
    knowledge.planned = knowledge.wanted
    knowledge.fingerprint = wanted.fingerprint
    knowledge.full = False
    knowledge.began_at = knowledge.moved_at = now
    knowledge.sync_price = knowledge.sync_tokens = 0
    knowledge.refused_since = knowledge.away_since = knowledge.retry_at = None
    knowledge.limit_reason = knowledge.sync_status_reason = knowledge.blame = ""
    knowledge.sync_status = SyncStatus.RUNNING
    knowledge.save()
    return index


def _web(pk: int, wanted: KnowledgeSettings) -> Web:
    """The bot's web. Where a stored pattern is refused, its sources fail, and nothing is crawled."""
    try:
        return Web.of(wanted.seeds, wanted.crawling_scope, wanted.include, wanted.exclude)
    except SourceFault as fault:
        sources = Source.objects.filter(knowledge=pk, kind__in=[SourceKind.WEB, SourceKind.SITEMAP], is_removed=False)
        sources.update(state=SourceState.FAILED, reason=fault.sentence, blame=fault.blame)
        return Web.of((), wanted.crawling_scope)


# ---- Ending ---------------------------------------------------------------------------------------------------------


def _close(slice_: Slice, hosts: Hosts) -> None:
    """Finishes the job, and says what comes next."""
    with transaction.atomic():
        knowledge = slice_.lock()
        slice_.job.finish()
        if knowledge.bot_id is None:
            deleting.ask(slice_.pk)
            return
        if slice_.gives_way:
            (revisions if knowledge.wanted > knowledge.done else deleting).ask(slice_.pk)
            return
        is_through = not slice_.has_ended and frontier.is_empty(slice_)
        if is_through or slice_.has_ended:
            _end_sync(slice_, knowledge, is_through=is_through)
            return
        _heed_hosts(slice_, hosts)
        Knowledge.objects.filter(pk=slice_.pk).update(
            sync_status=SyncStatus.RUNNING,
            sync_status_reason=slice_.waiting_for,
            blame="",
            limit_reason=slice_.limit_reason,
        )
        key = revisions.key_of(slice_.pk)
        payload = {"knowledge": slice_.pk, "after": slice_.job.place}
        queue.enqueue(revisions.KIND, payload, delay=slice_.delay, key=key)


def _heed_hosts(slice_: Slice, hosts: Hosts) -> None:
    """A slice that could only wait, for hosts or a disk, leaves its place to others meanwhile."""
    blocked = hosts.shortest_wait
    if blocked is not None and not slice_.is_over:
        seconds, host = blocked
        slice_.give_up_turn(seconds, f"{host} allows no more pages for now; it is asked again in {seconds:.0f} s.")
    elif slice_.trouble and not slice_.is_over:
        slice_.give_up_turn(away.AWAY_SECONDS, slice_.trouble)
    elif not slice_.is_over:
        slice_.delay = 1.0  # other syncs of this process have the places at its hosts


def _end_sync(slice_: Slice, knowledge: Knowledge, *, is_through: bool) -> None:
    """The sync has come to its end: what is not named any more goes, and the state is that of the rows."""
    if is_through:
        gone = reaching.unreached(slice_)
        deleting.hide(slice_.pk, gone if slice_.crawls else gone & ~reaching.OF_SITES)
        indexes.switch(knowledge)
    outcome = status.outcome(knowledge, slice_.limit_reason, slice_.limit_blame)
    columns: dict[str, Any] = {
        "sync_status": outcome.state,
        "sync_status_reason": outcome.reason,
        "blame": outcome.blame,
        "done": slice_.revision,
        "limit_reason": slice_.limit_reason,
        "refused_since": None,
        "away_since": None,
        "retry_at": slice_.retry_at,
        "synced_at": database_now(),
        "serving": knowledge.serving_id,
        "making": knowledge.making_id,
    }
    Knowledge.objects.filter(pk=slice_.pk).update(**columns)
    deleting.ask(slice_.pk)
