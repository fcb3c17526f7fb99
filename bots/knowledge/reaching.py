"""Documents that a source has named, or a page of it has led to: the rows that a sync has to fetch, its frontier."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from django.db import transaction
from django.db.models import F, Q, QuerySet

from bedrock_chat.process.interruption import Interrupted
from bots.knowledge.models import LONGEST_NAME, Document, Source, SourceKind
from bots.knowledge.planning import SYNCS_FAILED, KnownDocument, ReachedDocument, hint_of, plan_reached
from bots.knowledge.slices import Slice
from bots.knowledge.sources import crawling
from bots.knowledge.sources.locations import Location, SourceFault
from bots.knowledge.states import DocumentState, SourceState

LONGEST_HINT = 512
OF_SITES = Q(source__kind__in=[SourceKind.WEB, SourceKind.SITEMAP])
"""The condition of documents that are pages of sites."""
NOTHING_KNOWN_OF_IT = {"digest": "", "etag": "", "last_modified": ""}
"""The columns of a document that is fetched as if it were new."""
AT_ONCE = 100
"""Locations that one transaction writes, so that it is short whatever a list or a page names."""


def rows(pk: int) -> QuerySet[Document]:
    """The documents of a bot's knowledge, without those that wait for their removal."""
    return Document.objects.filter(knowledge=pk).exclude(state=DocumentState.REMOVED)


def reach_most(slice_: Slice, source: Source, locations: Sequence[Location]) -> Sequence[Location]:
    """Reaches locations in transactions of their own, but for the last ones, which are returned: these are for the
    transaction that notes that all of them were reached. Who is cut off in between reaches all of them again, which
    changes nothing. Raises Interrupted where nobody wants them any more.
    """
    locations = _not_reached(slice_, source, locations)
    last = max(0, len(locations) - 1) // AT_ONCE * AT_ONCE
    for start in range(0, last, AT_ONCE):
        with slice_.writing():
            reach(slice_, source, locations[start : start + AT_ONCE])
        if slice_.gives_way or slice_.interruption.requested:
            raise Interrupted
    return locations[last:]


def reach(slice_: Slice, source: Source, locations: Sequence[Location]) -> None:
    """Within `writing`: documents that a source has named, or a page of it has led to. New ones are to be fetched.

    Once the bot was changed, nothing is reached: the source may be gone, and the next sync asks all of them again.
    """
    locations = _not_reached(slice_, source, locations)
    if slice_.gives_way or not locations:
        return
    columns = ("location", "pk", "source__place", "reached", "fetched", "hint", "state", "leads_on")
    stored = rows(slice_.pk).filter(location__in=[location.location for location in locations])
    known = {
        location: KnownDocument(
            pk=pk,
            place=place,
            reached=reached,
            fetched=fetched,
            hint=hint,
            is_found=state == DocumentState.READY,
            leads_on=leads_on,
        )
        for location, pk, place, reached, fetched, hint, state, leads_on in stored.values_list(*columns)
    }
    plan = plan_reached(locations, known, sync=slice_.sync, place=source.place, room=slice_.room)
    owners = _owners(slice_, [*plan.new, *(document.location for document in plan.known)])
    Document.objects.bulk_create(
        Document(
            knowledge_id=slice_.pk,
            source_id=owners.get(location.owner, source.pk),
            location=location.location,
            name=location.name[:LONGEST_NAME],
            link=location.link,
            reached=slice_.sync,
            leads_on=location.role == "page",
            hint=hint_of(location)[:LONGEST_HINT],
            size=location.size,
        )
        for location in plan.new
    )
    slice_.room -= len(plan.new)
    slice_.has_reached = slice_.has_reached or bool(plan.new or plan.known)
    if plan.left_out:
        slice_.note_limit("There are more documents than one bot may have; those that come last are left out.")
    _update(slice_, source, plan.known, owners)
    _follow_anew(slice_, plan.known, known)
    there = known.keys() | {location.location for location in plan.new}
    transaction.on_commit(partial(_note_reached, slice_, source, [one for one in locations if one.location in there]))


def _not_reached(slice_: Slice, source: Source, locations: Sequence[Location]) -> Sequence[Location]:
    """Those that would change anything: the menu of a site is on each of its pages."""
    reached, pk = slice_.reached, source.pk
    return [
        location
        for location in locations
        if (follows := reached.get(_key(pk, location))) is None or (location.role == "page" and not follows)
    ]


def _key(source: int, location: Location) -> bytes:
    """What a slice keeps of a location that a source has reached: an address may have 2,000 characters."""
    return hashlib.blake2b(f"{source} {location.location}".encode(), digest_size=16).digest()


def _note_reached(slice_: Slice, source: Source, locations: Sequence[Location]) -> None:
    """What is committed is reached: the same source need not reach it again."""
    for location in locations:
        key = _key(source.pk, location)
        slice_.reached[key] = location.role == "page" or slice_.reached.get(key, False)


def _owners(slice_: Slice, locations: Iterable[Location]) -> dict[str, int]:
    """The seeds that cover these locations: normalised URL → key of the source. They are read once in a slice."""
    urls = {location.owner for location in locations if location.owner}
    if not urls:
        return {}
    if slice_.owners is None:
        slice_.owners = {}
        seeds = Source.objects.filter(knowledge=slice_.pk, is_removed=False, kind=SourceKind.WEB).order_by("-place")
        for pk, location in seeds.values_list("pk", "location"):
            with suppress(SourceFault):
                slice_.owners[crawling.address_of(location)] = pk
    return {url: slice_.owners[url] for url in urls if url in slice_.owners}


def _update(slice_: Slice, source: Source, reached: Sequence[ReachedDocument], owners: dict[str, int]) -> None:
    """Writes what was reached again, in a statement for each way in which documents differ."""
    groups: dict[tuple[int | None, bool, bool], list[int]] = {}
    for document in reached:
        owner = owners.get(document.location.owner, source.pk) if document.is_owned else None
        groups.setdefault((owner, document.is_unchanged, document.leads_on), []).append(document.pk)
    for (owner, is_unchanged, leads_on), keys in groups.items():
        columns = {} if owner is None else {"source_id": owner}
        documents = Document.objects.filter(pk__in=keys)
        documents.update(reached=slice_.sync, leads_on=leads_on, **columns)
        if is_unchanged:
            documents.update(fetched=slice_.sync)
    urgent = {document.pk: document.location for document in reached if document.is_urgent}
    changed = list(Document.objects.filter(pk__in=urgent).only("pk", "hint", "size"))
    for row in changed:
        location = urgent[row.pk]
        row.hint, row.is_urgent, row.size = hint_of(location)[:LONGEST_HINT], True, location.size
    Document.objects.bulk_update(changed, ["hint", "is_urgent", "size"])


def _follow_anew(slice_: Slice, reached: Sequence[ReachedDocument], known: Mapping[str, KnownDocument]) -> None:
    """Documents that were fetched in this sync for what they say alone, and whose links are followed from now on, are
    fetched once more. One that is being fetched just now is, too (`outcomes`).
    """
    before = [known[document.location.location] for document in reached if document.leads_on]
    changed = [document for document in before if not document.leads_on]
    slice_.newly_followed |= {document.pk for document in changed}
    fetched = [document.pk for document in changed if document.fetched == slice_.sync]
    Document.objects.filter(pk__in=fetched).update(fetched=0, **NOTHING_KNOWN_OF_IT)


def unreached(slice_: Slice) -> Q:
    """The condition of documents that no source names any more, once all of them have been asked.

    A page that could not be read may have led to some of them: those of its source stay for as many syncs as the page
    itself would.
    """
    unreached = rows(slice_.pk).filter(reached__lt=slice_.sync)
    failed = Source.objects.filter(knowledge=slice_.pk, is_removed=False).filter(
        Q(state=SourceState.FAILED) | Q(documents__state=DocumentState.FAILED, documents__reached=slice_.sync)
    )
    doubtful = list(failed.values_list("pk", flat=True).distinct())
    unreached.filter(source__in=doubtful).update(failures=F("failures") + 1)
    return Q(reached__lt=slice_.sync) & (~Q(source__in=doubtful) | Q(failures__gte=SYNCS_FAILED))
