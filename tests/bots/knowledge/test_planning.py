"""What a sync has to change, held against a model: sources against those stored, locations against known documents."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from hypothesis import example, given
from hypothesis import strategies as st

from bots.knowledge.configuration import Named, SourceName
from bots.knowledge.planning import KnownDocument, StoredSource, plan_reached, plan_sources
from bots.knowledge.sources.locations import Location, Role

KINDS: tuple[SourceName, ...] = ("file", "web", "sitemap", "s3")
SYNC = 7

named = st.builds(Named, st.sampled_from(KINDS), st.sampled_from("abcd"))


@given(wanted=st.lists(named), stored=st.lists(st.tuples(named, st.integers(0, 9))))
@example(wanted=[Named("web", "a")], stored=[(Named("web", "a"), 0), (Named("web", "a"), 1)])
def test_after_its_plan_a_bot_has_the_sources_that_it_names_in_their_order(
    wanted: list[Named], stored: list[tuple[Named, int]]
) -> None:
    rows = [StoredSource(pk, source, place) for pk, (source, place) in enumerate(stored)]
    plan = plan_sources(wanted, rows)
    assert not set(plan.gone) & plan.moved.keys()
    left = [replace(row, place=plan.moved.get(row.pk, row.place)) for row in rows if row.pk not in plan.gone]
    left += [StoredSource(100 + place, source, place) for source, place in plan.new]
    assert {row.place: row.named for row in left} == dict(enumerate(dict.fromkeys(wanted)))
    assert len(left) == len(set(wanted))
    again = plan_sources(wanted, left)
    assert (again.new, again.moved, again.gone) == ((), {}, ())


# ---- Documents ------------------------------------------------------------------------------------------------------


def location(name: str, role: Role = "listed", kind: Literal["web", "s3"] = "web", mark: str = "") -> Location:
    marks = {"etag": mark} if kind == "s3" else {"changed": mark}
    return Location(kind, name, name, role=role, **marks)


visits = st.lists(
    st.tuples(st.integers(0, 3), st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["page", "listed"])))),
    max_size=6,
)
"""Places of sources, and what each of them reaches, in the order in which that happens."""
earlier = st.dictionaries(st.sampled_from("abcde"), st.tuples(st.integers(0, 3), st.integers(SYNC - 2, SYNC - 1)))
"""Documents of syncs before: whose they were, and when they were reached last."""


@given(visits=visits, earlier=earlier)
def test_a_document_belongs_to_the_first_source_that_reaches_it_in_whatever_order_they_come(
    visits: list[tuple[int, list[tuple[str, Role]]]], earlier: Mapping[str, tuple[int, int]]
) -> None:
    known = {
        name: KnownDocument(pk, place, reached, fetched=reached, leads_on=True)
        for pk, (name, (place, reached)) in enumerate(earlier.items())
    }
    for place, reached in visits:
        plan = plan_reached([location(*one) for one in reached], known, sync=SYNC, place=place, room=100)
        by_key = {document.pk: name for name, document in known.items()}
        for document in plan.known:
            name = by_key[document.pk]
            owner = place if document.is_owned else known[name].place
            known[name] = replace(known[name], place=owner, reached=SYNC, leads_on=document.leads_on)
        for new in plan.new:
            assert new.location not in known
            known[new.location] = KnownDocument(len(known), place, SYNC, 0, leads_on=new.role == "page")
    for name, document in known.items():
        # Of an address that one source reaches twice, the last time counts.
        roles = [(place, dict(reached)[name]) for place, reached in visits if name in dict(reached)]
        assert (document.reached == SYNC) == bool(roles)
        if roles:
            assert document.place == min(place for place, _ in roles)
            assert document.leads_on == any(role == "page" for _, role in roles)
        else:
            assert (document.place, document.reached) == earlier[name]


@given(names=st.lists(st.sampled_from("abcdefgh")), known=st.sets(st.sampled_from("abcdefgh")), room=st.integers(-2, 9))
def test_of_new_documents_the_first_have_room_and_the_others_are_counted(
    names: list[str], known: set[str], room: int
) -> None:
    documents = {name: KnownDocument(pk, 0, SYNC - 1, SYNC - 1) for pk, name in enumerate(sorted(known))}
    plan = plan_reached([location(name) for name in names], documents, sync=SYNC, place=0, room=room)
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    assert [new.location for new in plan.new] == unknown[: max(0, room)]
    assert plan.left_out == len(unknown) - len(plan.new)
    assert {document.location.location for document in plan.known} == known & set(names)


@given(
    kind=st.sampled_from(["web", "s3"]),
    before=st.sampled_from(["", "1", "2"]),
    now=st.sampled_from(["", "1", "2"]),
    is_found=st.booleans(),
)
def test_a_list_that_shows_the_same_etag_leaves_an_object_that_is_found_alone_and_a_lastmod_only_hastens(
    kind: Literal["web", "s3"], before: str, now: str, is_found: bool
) -> None:
    known = {"a": KnownDocument(1, 0, SYNC - 1, SYNC - 1, hint=before, is_found=is_found)}
    [document] = plan_reached([location("a", kind=kind, mark=now)], known, sync=SYNC, place=0, room=9).known
    assert document.is_unchanged == (kind == "s3" and is_found and now == before != "")
    assert document.is_urgent == (now not in ("", before))
