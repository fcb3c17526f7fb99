"""What a bot's sources name: each becomes rows of documents, which the sync then fetches."""

from functools import partial
from typing import Any, Final, Literal

from bedrock_chat.process.interruption import Interrupted
from bedrock_chat.resilience.disk_space import is_of_disk
from bots.knowledge import away, faults
from bots.knowledge.hosts import Hosts, Place
from bots.knowledge.lanes import Work
from bots.knowledge.models import LONGEST_REASON, Source, SourceKind
from bots.knowledge.reaching import reach, reach_most
from bots.knowledge.slices import Slice
from bots.knowledge.sources import crawling, s3, sitemaps, uploads
from bots.knowledge.sources.locations import Listed, Location, SourceFault
from bots.knowledge.states import Blame, SourceState

AT_A_TIME: Final = 20
"""Sources that one transaction lists, where nobody has to be asked."""
FAULT: Final = f"It could not be listed {faults.OF_THIS_SERVER}"
FILE_GONE: Final = "This file is not there any more; upload it again."


def begin(slice_: Slice) -> None:
    """Lists the sources that name their documents themselves: files and first pages."""
    waiting = Source.objects.filter(knowledge=slice_.pk, is_removed=False, state=SourceState.WAITING)
    own = list(waiting.filter(kind__in=[SourceKind.FILE, SourceKind.WEB]).order_by("place"))
    for start in range(0, len(own), AT_A_TIME):
        with slice_.writing():
            for source in own[start : start + AT_A_TIME]:
                try:
                    location = _named(slice_, source)
                except SourceFault as fault:
                    _end(source, fault.sentence, fault.blame)
                else:
                    reach(slice_, source, [location])
                    _end(source)
        if slice_.gives_way:
            return


def _named(slice_: Slice, source: Source) -> Location:
    """Raises SourceFault."""
    if source.kind == SourceKind.WEB:
        return crawling.seed(source.location)
    entry = slice_.settings.files.get(source.location)
    if entry is None:
        raise SourceFault(FILE_GONE, blame=Blame.OWNER)
    return uploads.location(source.location, entry)


def lists(slice_: Slice) -> list[Source]:
    """The sources that have to be asked what they name."""
    waiting = Source.objects.filter(knowledge=slice_.pk, is_removed=False, state=SourceState.WAITING)
    kinds = [SourceKind.S3, SourceKind.SITEMAP] if slice_.crawls else [SourceKind.S3]
    return list(waiting.filter(kind__in=kinds).order_by("place"))


def ask(slice_: Slice, hosts: Hosts, source: Source) -> Work:
    """Lists a sitemap or a folder, part by part. One that is cut off goes on in the next slice."""
    try:
        while not slice_.is_over:
            wait = _turn(hosts, source)
            if wait is None:
                return
            place = Place(_address(source)) if source.kind == SourceKind.SITEMAP else None
            try:
                part: Listed = yield partial(_part, slice_, source, wait)
            finally:
                if place is not None:
                    place.leave()
            if part.retry_after is not None and part.next_url:
                hosts.postpone(part.next_url, part.retry_after)
            last = reach_most(slice_, source, part.locations)
            with slice_.writing():
                reach(slice_, source, last)
                _note(source, part)
                slice_.moved()
            if part.rest is None:
                return
    except Interrupted:
        return
    except SourceFault as fault:
        if fault.retry_after is not None and source.kind == SourceKind.SITEMAP:
            hosts.postpone(_address(source), fault.retry_after)
        with slice_.writing():
            _end(source, fault.sentence, fault.blame)
    except Exception as error:
        if faults.ends_slice(error):
            raise
        faults.log(slice_.pk, error)
        if is_of_disk(error):  # where a part of the list was to be written
            away.wait(slice_, away.DISK_AWAY, source.location)
            return
        with slice_.writing():
            _end(source, FAULT, Blame.OPERATOR)


def _part(slice_: Slice, source: Source, wait: float) -> Listed:
    """On a thread: the next part of a list. Raises SourceFault and Interrupted."""
    slice_.interruption.wait(wait)
    slice_.interruption.check()
    rest: dict[str, Any] = source.listing.get("rest") or {}
    if source.kind == SourceKind.SITEMAP:
        return sitemaps.listed(source.location, rest, slice_.web, slice_.context)
    return s3.listed(source.location, rest, slice_.context)


def _note(source: Source, part: Listed) -> None:
    """Within `writing`: how much a part has named, and where the list goes on."""
    listing = source.listing
    source.listing = {
        "listed": listing.get("listed", 0) + len(part.locations),
        "note": listing.get("note") or part.note,
        "rest": part.rest,
        "next_url": part.next_url,
    }
    source.skipped += part.skipped
    columns = ["listing", "skipped"]
    if part.rest is None:
        is_empty = not source.listing["listed"]
        source.state = SourceState.FAILED if is_empty and source.listing["note"] else SourceState.LISTED
        source.reason = source.listing["note"][:LONGEST_REASON] if is_empty else ""
        source.blame = Blame.SOURCE if source.reason else ""
        columns += ["state", "reason", "blame"]
    source.save(update_fields=columns)


def _end(source: Source, reason: str = "", blame: Blame | Literal[""] = "") -> None:
    """Within `writing`: the source has named its documents, or told why it cannot, and whose fault that is."""
    state = SourceState.FAILED if reason else SourceState.LISTED
    Source.objects.filter(pk=source.pk).update(state=state, reason=reason[:LONGEST_REASON], blame=blame)


# ---- Turns of the host ----------------------------------------------------------------------------------------------


def _address(source: Source) -> str:
    """Where the next part comes from. Raises SourceFault."""
    return source.listing.get("next_url") or crawling.address_of(source.location)


def _turn(hosts: Hosts, source: Source) -> float | None:
    return hosts.begin(_address(source)) if source.kind == SourceKind.SITEMAP else 0.0
