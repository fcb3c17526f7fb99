"""What a sync has to change, decided without a database: sources against those that are stored, locations that were
listed or linked to against the documents that are known.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from bots.knowledge.configuration import Named
from bots.knowledge.sources.locations import Location

WORKERS_LOST: Final = 3
"""After so many lost workers a document is given up: it may be what ended them."""
SYNCS_FAILED: Final = 3
"""After so many syncs in a row that could not read it, a document is not found any more."""


@dataclass(frozen=True, slots=True)
class StoredSource:
    pk: int
    named: Named
    place: int


@dataclass(frozen=True, slots=True)
class SourcePlan:
    """`new` sources with their places, `moved` ones by key with their new places, `gone` ones by key."""

    new: tuple[tuple[Named, int], ...]
    moved: Mapping[int, int]
    gone: tuple[int, ...]


def plan_sources(named: Sequence[Named], stored: Iterable[StoredSource]) -> SourcePlan:
    """Holds the sources that a bot names against those that are stored."""
    places = {source: place for place, source in enumerate(dict.fromkeys(named))}
    moved: dict[int, int] = {}
    gone: list[int] = []
    known: set[Named] = set()
    for row in stored:
        place = places.get(row.named)
        if place is None or row.named in known:
            gone.append(row.pk)
            continue
        known.add(row.named)
        if place != row.place:
            moved[row.pk] = place
    new = tuple((source, place) for source, place in places.items() if source not in known)
    return SourcePlan(new, moved, tuple(gone))


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """What is stored of a document that a location names. `place` is that of the source that owns it."""

    pk: int
    place: int
    reached: int
    fetched: int
    hint: str = ""
    etag: str = ""
    is_found: bool = False
    leads_on: bool = False


@dataclass(frozen=True, slots=True)
class ReachedDocument:
    """A document that was known before, and what the sync writes of it.

    `is_owned`: it belongs to the source that has reached it now. `is_unchanged`: its source's list says that it is as
    it was when it was fetched last. `is_urgent`: its source says that it has changed since.
    """

    pk: int
    location: Location
    is_owned: bool
    is_unchanged: bool
    is_urgent: bool
    leads_on: bool


@dataclass(frozen=True, slots=True)
class ReachPlan:
    new: tuple[Location, ...]
    known: tuple[ReachedDocument, ...]
    left_out: int
    """How many new ones are too many for one bot."""


def hint_of(location: Location) -> str:
    """What a list says about the state of one of its documents."""
    return location.etag if location.kind == "s3" else location.changed


def plan_reached(
    locations: Iterable[Location],
    known: Mapping[str, KnownDocument],
    *,
    sync: int,
    place: int,
    room: int,
) -> ReachPlan:
    """Holds locations that a source of this place has reached in a sync against the known documents, by location.

    A document that was reached in this sync already belongs to the first of its sources. Each location counts once.
    `room` is how many documents the bot may still get.
    """
    new: list[Location] = []
    reached: list[ReachedDocument] = []
    for location in {location.location: location for location in locations}.values():
        document = known.get(location.location)
        if document is None:
            new.append(location)
            continue
        is_first = document.reached < sync
        is_owned = is_first or place < document.place
        leads_on = location.role == "page" or (document.leads_on and not is_first)
        if not (is_owned or leads_on != document.leads_on):
            continue
        hint = hint_of(location)
        is_same = bool(hint) and hint == document.hint
        reached.append(
            ReachedDocument(
                pk=document.pk,
                location=location,
                is_owned=is_owned,
                is_unchanged=location.kind == "s3" and document.is_found and is_same,
                is_urgent=bool(hint) and not is_same,
                leads_on=leads_on,
            )
        )
    return ReachPlan(tuple(new[: max(0, room)]), tuple(reached), max(0, len(new) - max(0, room)))
