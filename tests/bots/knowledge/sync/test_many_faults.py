"""Whatever goes wrong with a source, a model, a disk or a worker, the bot says so in the state and the sentence of that
fault, what was found before stays found, and when it has passed each document is there once.

`SOAK=1`, as `make soak` sets it, makes 300 faults.
"""

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from bots.knowledge import status
from bots.knowledge.models import Document
from tests.bots.knowledge.sources.buckets import BUCKET, bucket
from tests.bots.knowledge.sources.site import Site
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.sync.troubles import TROUBLES, Trouble, happening
from tests.bots.knowledge.sync.worlds import World
from tests.emulator import Emulator
from tests.outbound.servers import Names

__all__ = ["bucket"]

FAULTS = 300 if os.environ.get("SOAK") else len(TROUBLES)
SEED = 19


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr("socket.getaddrinfo", names.getaddrinfo)
    return names


@pytest.fixture
def site() -> Iterator[Site]:
    with Site() as site:
        yield site


def test_at_least_twenty_kinds_of_faults_are_tried() -> None:
    assert 20 <= len(TROUBLES) <= FAULTS


@pytest.mark.slow
@pytest.mark.both
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("local")
def test_faults_of_every_kind_are_told_lose_nothing_and_pass(
    alice: APIClient, emulator: Emulator, site: Site, names: Names, bucket: Any, settings: Any
) -> None:
    """They come in any order, to bots that had nothing yet and to those whose documents were found before."""
    settings.MODEL_RETRY_SECONDS = 0.2
    settings.KNOWLEDGE_S3 = ((BUCKET, ""),)
    chance = random.Random(SEED)
    chosen = [list(TROUBLES)[number % len(TROUBLES)] for number in range(FAULTS)]
    chance.shuffle(chosen)
    worlds = []
    for number, name in enumerate(chosen):
        trouble = TROUBLES[name]
        kind = chance.choice(trouble.kinds)
        world = World(number, kind, chance, alice, emulator, site, names, bucket)
        is_later = trouble.is_later or chance.random() < 0.5
        where = f"{number}: {name} with a {kind}{' that was found before' if is_later else ''}"
        world.begin()
        if is_later:
            _passes(world, 1, where)
        _is_told(world, trouble, where, is_later=is_later)
        _passes(world, 2, where)
        worlds.append(world)
    assert Document.objects.count() == 2 * FAULTS
    for world in worlds:
        world.count()


def _is_told(world: World, trouble: Trouble, where: str, *, is_later: bool) -> None:
    """The fault happens to a document that has changed since it was found, or was never found."""
    world.write(2)
    with happening(trouble, world):
        world.ask()
        trouble.work(world)
        state, reason = world.shown
        assert state in trouble.state.split(), (where, state, reason)
        assert reason.startswith(trouble.reason.format(odd=world.source)), (where, reason)
        if trouble.document and (is_later or trouble.document != "ready" or trouble.reads):
            assert world.state == trouble.document, where
        readable = world.found()
        if is_later or trouble.spares:
            assert world.well_says in readable, where
        odd = [words for words in readable if words != world.well_says]
        if trouble.reads:
            assert odd == [world.says(2)], where
        elif trouble.state == "FAILED" or trouble.reason:
            assert odd in ([[world.says(1)]] if is_later and trouble.keeps else [[]]), where
        else:  # cut off anywhere: the old one or the new one, never both
            assert odd in ([world.says(1)], [world.says(2)]) if is_later else ([], [world.says(2)]), where


def _passes(world: World, version: int, where: str) -> None:
    """Nothing is wrong any more: the next sync finds what the documents say now, each once."""
    world.write(version)
    world.ask()
    syncs.run()
    assert world.shown == ("SUCCEEDED", status.SUCCEEDED), (where, world.shown)
    assert world.found() == [world.well_says, world.says(version)], where
    world.count()
