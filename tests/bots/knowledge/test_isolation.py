"""Bots that use each other's words, searched while they are synced and edited: none finds a passage of another.

`SOAK=1` makes 50 bots and 500 searches.
"""

import os
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.jobs import queue
from bedrock_chat.search.vectors import cache, searching
from bots import chatting
from bots.knowledge import deleting, retrieval, revisions
from bots.knowledge.models import Document
from bots.knowledge.retrieval import RetrievalFault
from tests.bots.bot import body, edit, make
from tests.bots.knowledge.sync import syncs
from tests.bots.knowledge.test_retrieval import caller, context
from tests.bots.knowledge.test_retrieval import searching as params
from tests.bots.upload import change, sources, upload
from tests.emulator import Emulator
from tests.together import at_once

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

BOTS, SEARCHES = (50, 500) if os.environ.get("SOAK") else (8, 60)
THREADS = 8
NAMES = ("tides.txt", "pumps.txt", "leave.txt")
QUERIES = ("tides of the moon", "pump ZX-81-4 oil", "annual leave", "vacation days", "Of b1", "moon b2 pump b3")


@pytest.fixture(autouse=True)
def _small_cache(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Small bots too are searched by bits, of which memory has room for a few bots'."""
    monkeypatch.setattr(searching, "EXACT", 0)
    settings.KNOWLEDGE_CACHE_MB = 1_500 / 1024 / 1024
    cache.shared.cache_clear()
    yield
    cache.shared.cache_clear()


def text_of(number: int, name: str, version: int) -> str:
    """What a file of a bot says: all bots speak of the same, and name each other."""
    other = (number * 7 + version) % BOTS
    topic = {
        "tides.txt": "the moon makes the tides, and spring tides are high",
        "pumps.txt": "the pump ZX-81-4 needs oil twice a year",
        "leave.txt": "every employee has thirty vacation days a year",
    }[name]
    return f"Of b{number}: b{other} says in its version {version} of {name} that {topic}."


def test_no_bot_finds_a_passage_of_another_during_syncs_and_edits(alice: APIClient, emulator: Emulator) -> None:
    for number in range(BOTS):
        for name in NAMES:
            upload(alice, f"b{number}", name, text_of(number, name, 0).encode())
        make(alice, f"b{number}", knowledge=sources(*NAMES), bedrockKnowledgeBase=params())
    syncs.run()
    searched, edited = threading.Event(), threading.Event()
    of_bots = [0] * THREADS

    def search(thread: int) -> None:
        chance = random.Random(thread)
        for _ in range(thread, SEARCHES, THREADS):
            number = chance.randrange(BOTS)
            bot = chatting.get(f"b{number}", actor=caller())
            try:
                passages = retrieval.retrieve(bot, chance.choice(QUERIES), context(bot)).passages
            except RetrievalFault:  # nothing is found
                continue
            for passage in passages:
                assert passage.text.startswith(f"Of b{number}: "), passage
                assert Document.objects.get(pk=passage.document).knowledge.bot_id == f"b{number}"
            of_bots[thread] += bool(passages)

    def search_all() -> None:
        try:
            at_once(*(lambda thread=thread: search(thread) for thread in range(THREADS)))
        finally:
            searched.set()

    def change_bots() -> None:
        chance, version = random.Random(19), 0
        try:
            while not searched.is_set():
                version += 1
                number, name = chance.randrange(BOTS), chance.choice(NAMES)
                upload(alice, f"b{number}", name, text_of(number, name, version).encode())
                others = [other for other in NAMES if other != name]
                body(edit(alice, f"b{number}", knowledge=change(added=[name], unchanged=others)))
        finally:
            edited.set()

    def work() -> None:
        while not edited.is_set():
            for kind in (revisions.KIND, deleting.KIND):
                for job in queue.claim("worker", 1, kind=kind):
                    syncs.HANDLERS[kind](job)

    at_once(search_all, change_bots, work)
    assert len(cache.shared()) < BOTS / 2  # the others were evicted
    assert sum(of_bots) > SEARCHES / 2
    syncs.run()
    for number in range(BOTS):
        texts = syncs.texts(f"b{number}")
        assert len(texts) == len(NAMES)
        assert all(text.startswith(f"Of b{number}: ") for text in texts)
