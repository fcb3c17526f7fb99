"""A site whose thousands of addresses are as long as they may be costs a slice little memory."""

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from rest_framework.test import APIClient

from bedrock_chat.process.interruption import Interruption
from bots.knowledge import reaching, revisions, syncing
from bots.knowledge.attempts import Attempts
from bots.knowledge.frontier import Frontier
from bots.knowledge.hosts import Hosts
from bots.knowledge.models import Document, Source
from bots.knowledge.slices import Slice
from bots.knowledge.sources.locations import LONGEST_LOCATION, Location
from tests.bots.bot import KNOWLEDGE, make
from tests.bots.knowledge.sync import syncs

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("local")]
NUMBER = 2_000
MOST_BYTES = 1_900 * NUMBER // 2
"""Half of what the addresses have. A quarter was measured, most of it caches that do not grow."""


def address(number: int) -> str:
    return f"http://127.0.0.1:9/{'x' * 1_900}{number}"


@pytest.fixture
def opened(alice: APIClient) -> Slice:
    """The slice of a sync that has just begun."""
    make(alice, "b", knowledge={**KNOWLEDGE, "sourceUrls": ["http://127.0.0.1:9/"]})
    [job] = syncs.claim(revisions.KIND)
    slice_ = syncing._open(job, Interruption())
    assert slice_ is not None
    return slice_


@contextmanager
def growing() -> Iterator[Callable[[], int]]:
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    try:
        yield lambda: tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_of_what_a_slice_has_reached_it_keeps_digests(opened: Slice) -> None:
    assert len(address(NUMBER)) < LONGEST_LOCATION
    source = Source.objects.get()
    with growing() as grown:
        for number in range(NUMBER):
            one = address(number)
            reaching._note_reached(opened, source, [Location("web", one, "x", link=one, role="listed")])
        kept = grown()
    assert len(opened.reached) == NUMBER
    assert kept < MOST_BYTES
    one = address(5)
    for role, pk, is_new in (("listed", source.pk, False), ("page", source.pk, True), ("listed", source.pk + 1, True)):
        location = Location("web", one, "x", link=one, role=role)  # type: ignore[arg-type]
        assert bool(reaching._not_reached(opened, Source(pk=pk), [location])) == is_new


def test_of_what_waits_to_be_fetched_it_keeps_the_site(opened: Slice) -> None:
    source = Source.objects.get()
    Document.objects.bulk_create(
        Document(knowledge=source.knowledge, source=source, location=address(number), reached=opened.sync)
        for number in range(NUMBER)
    )
    frontier = Frontier(opened, Hosts(), Attempts(opened))
    with growing() as grown:
        frontier._load()
        kept = grown()
    assert [len(waiting) for waiting in frontier._unfetched.values()] == [NUMBER]
    assert kept < MOST_BYTES
