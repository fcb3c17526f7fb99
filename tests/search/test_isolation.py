"""Whatever happens at once, no search of a bot finds a passage of another."""

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from django.db import transaction

from bedrock_chat.database.connections import release_connection
from bedrock_chat.search.passages import indexing
from bedrock_chat.search.passages import searching as words
from bedrock_chat.search.vectors import cache, purging, searching, writing
from bedrock_chat.search.vectors.cache import BitsCache
from bedrock_chat.search.vectors.models import VectorIndex

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both, pytest.mark.slow]

BOTS, PASSAGES, SEARCHES = 50, 20, 500
SUBJECTS = "holiday invoice parking password refund parcel doctor printer".split()  # noqa: SIM905
KEYS = 100_000
"""Keys of a bot: bot × KEYS and on."""


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every bot is searched by its bits, and memory holds those of a few."""
    monkeypatch.setattr(searching, "EXACT", 0)
    bits = BitsCache(most=6 * PASSAGES * (64 // 8 + 8))
    monkeypatch.setattr(cache, "shared", lambda: bits)
    yield
    assert len(bits) <= 8


def vector(subject: str) -> list[float]:
    """All bots have the same vectors."""
    numbers: list[float] = np.random.default_rng(SUBJECTS.index(subject)).standard_normal(64).tolist()
    return numbers


def write(bot: int, reading: int, old: int | None = None) -> None:
    """A reading of the bot's one document takes the place of the old one, which is purged."""
    group = bot * KEYS + reading
    first = bot * KEYS + reading * PASSAGES
    passages = [(first + n, SUBJECTS[n % len(SUBJECTS)]) for n in range(PASSAGES)]
    for part in indexing.prepare((key, f"{subject} rule{key}") for key, subject in passages).parts():
        with transaction.atomic():
            indexing.write(bot, group, part)
    with transaction.atomic():
        writing.write(bot, group, [(key, vector(subject)) for key, subject in passages])
    old_group = bot * KEYS + (old or 0)
    with transaction.atomic():
        writing.publish(bot, show=[group], hide=[old_group] if old else [])
        VectorIndex.objects.create(index_id=group, version=1, dimensions=64)  # stands for the row of a reading
        VectorIndex.objects.filter(index_id=old_group).delete()
    if old:
        with transaction.atomic():
            purging.purge(bot, [old_group])
        for _ in range(-(-PASSAGES // indexing.MOST_AT_ONCE)):
            with transaction.atomic():
                indexing.remove(bot, old_group)


def search(bot: int, chance: random.Random) -> int:
    """Searches by both; returns how many passages there were, all of them the bot's."""
    subject = chance.choice(SUBJECTS)
    keys = [key for key, _ in searching.nearest(bot, vector(subject))]
    keys += [
        key for key, _ in words.find(bot, f"{subject} of the house", VectorIndex.objects.all(), total=PASSAGES).hits
    ]
    assert {key // KEYS for key in keys} <= {bot}
    return len(keys)


def test_searches_during_edits_and_evictions_stay_within_their_bot() -> None:
    for bot in range(1, BOTS + 1):
        write(bot, 1)
    done = threading.Event()
    edits = 0

    def edit() -> None:
        nonlocal edits
        chance, readings = random.Random(1), dict.fromkeys(range(1, BOTS + 1), 1)
        try:
            while not done.is_set():
                bot = chance.randint(1, BOTS)
                write(bot, readings[bot] + 1, old=readings[bot])
                readings[bot] += 1
                edits += 1
        finally:
            release_connection(final=True)

    def searches(seed: int) -> int:
        chance = random.Random(seed)
        try:
            return sum(search(chance.randint(1, BOTS), chance) for _ in range(-(-SEARCHES // 8)))
        finally:
            release_connection(final=True)

    with ThreadPoolExecutor(9) as pool:
        editing = pool.submit(edit)
        counts = [future.result() for future in [pool.submit(searches, seed) for seed in range(8)]]
        done.set()
        editing.result()
    assert sum(counts) > SEARCHES
    assert edits > 5
