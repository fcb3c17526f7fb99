"""Edits, slices that are killed or stopped anywhere, and deletions, in any order: the index is what the bots name.

`Histories` knows what each bot names in plain Python. After each step what can be found is whole, and a version that
the bot has named; in the end it is the last one, and nothing is left of what went.
`SOAK=1` makes 60 histories of 40 steps.
"""

import os
from itertools import count
from typing import Any

import pytest
from django.db.models import F, Sum
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from rest_framework.test import APIClient

from bedrock_chat.blobs import upload_links
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.jobs.queue import LeaseLost
from bedrock_chat.search import vocabulary
from bedrock_chat.search.models import SearchDocument, SearchWord
from bedrock_chat.search.passages import indexing
from bedrock_chat.search.vectors.models import Vector, VectorIndex
from bots.knowledge import deleting, revisions, syncing
from bots.knowledge.models import Chunk, Document, Edition, EditionState, Knowledge, KnowledgeIndex
from tests.bots.bot import KNOWLEDGE, body, edit, make, read
from tests.bots.knowledge.sync import syncs
from tests.bots.test_parts import BASE
from tests.bots.upload import change, upload
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.slow, pytest.mark.django_db(transaction=True)]

EXAMPLES, STEPS = (60, 40) if os.environ.get("SOAK") else (5, 22)

BOTS = st.sampled_from(["a", "b"])
NAMES = ("x.txt", "y.txt", "z.txt")
LONG = 2
"""The version of a file that is cut into several chunks."""
CHANGES = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([0, 1, LONG, None]), min_size=1, max_size=2)
MODELS = st.sampled_from(["titan_v2", "cohere_multilingual_v3"])
STRATEGIES = st.sampled_from(["default", "hierarchical", "fixed_size"])
MOMENTS = st.integers(0, 25)


def text_of(bot_id: str, name: str, version: int) -> str:
    """A text whose beginning and end both say what it is."""
    mark = f"{bot_id} {name} {version}"
    middle = "".join(f"Sentence {number} of it is about tides. " for number in range(120 if version == LONG else 1))
    return f"Begin {mark}. {middle}End {mark}."


class Histories(RuleBasedStateMachine):
    client: APIClient
    numbers = count()
    """The id of a bot is never used again."""

    def __init__(self) -> None:
        super().__init__()
        self.files: dict[str, dict[str, int]] = {}
        self.known: set[int] = set()
        self.ids = {letter: f"{letter}{next(self.numbers)}" for letter in ("a", "b")}

    # ---- What Alice does --------------------------------------------------------------------------------------------

    def save(self, letter: str, changes: dict[str, int | None], **fields: Any) -> None:
        bot_id = self.ids[letter]
        files = self.files.get(bot_id)
        added = [name for name, version in changes.items() if version is not None]
        for name in added:
            upload(self.client, bot_id, name, text_of(bot_id, name, changes[name] or 0).encode())
        if files is None:
            make(self.client, bot_id, knowledge={**KNOWLEDGE, "filenames": added}, **fields)
            files = self.files[bot_id] = {}
        else:
            deleted = [name for name, version in changes.items() if version is None and name in files]
            unchanged = [name for name in files if name not in changes]
            knowledge = change(added=added, deleted=deleted, unchanged=unchanged)
            body(edit(self.client, bot_id, knowledge=knowledge, **fields))
        for name, version in changes.items():
            files.pop(name, None)
            if version is not None:
                files[name] = version
        self.known.update(Knowledge.objects.values_list("pk", flat=True))

    @rule(letter=BOTS, changes=CHANGES)
    def change_files(self, letter: str, changes: dict[str, int | None]) -> None:
        self.save(letter, changes)
        self.look()

    @rule(letter=BOTS, model=MODELS, strategy=STRATEGIES, changes=CHANGES)
    def change_index(self, letter: str, model: str, strategy: str, changes: dict[str, int | None]) -> None:
        base = {**BASE, "embeddingsModel": model, "chunkingConfiguration": {"chunkingStrategy": strategy}}
        self.save(letter, changes, bedrockKnowledgeBase=base)
        self.look()

    @rule(letter=BOTS)
    def delete(self, letter: str) -> None:
        bot_id = self.ids[letter]
        if self.files.pop(bot_id, None) is not None:
            body(self.client.delete(f"/bot/{bot_id}"))
            self.ids[letter] = f"{letter}{next(self.numbers)}"
        self.look()

    # ---- What workers do --------------------------------------------------------------------------------------------

    @rule(moment=MOMENTS)
    def work_until_stopped(self, moment: int) -> None:
        for job in queue.claim("worker", 1, kind=revisions.KIND):
            with syncs.before_writing(moment, job.ending.request):
                self.sync(job)
        self.look()

    @rule(moment=MOMENTS, letter=BOTS, changes=CHANGES)
    def work_while_edited(self, moment: int, letter: str, changes: dict[str, int | None]) -> None:
        for job in queue.claim("worker", 1, kind=revisions.KIND):
            with syncs.before_writing(moment, lambda: self.save(letter, changes)):
                self.sync(job)
        self.look()

    @rule(moment=MOMENTS, letter=BOTS)
    def work_while_deleted_and_purged(self, moment: int, letter: str) -> None:
        def delete_and_purge() -> None:
            self.delete(letter)
            syncs.run(deleting.KIND)

        for job in queue.claim("worker", 1, kind=revisions.KIND):
            with syncs.before_writing(moment, delete_and_purge):
                self.sync(job)
        self.look()

    @rule(kind=st.sampled_from([revisions.KIND, revisions.KIND, deleting.KIND]), statements=st.integers(0, 150))
    def work_until_killed(self, kind: str, statements: int) -> None:
        for job in queue.claim("worker", 1, kind=kind):
            with syncs.killed_after(statements):
                self.sync(job) if kind == revisions.KIND else syncs.HANDLERS[kind](job)
        Job.objects.filter(kind=kind).update(due_at=database_now(), attempt=0)  # the lease runs out
        Document.objects.update(attempts=0)  # it is no document that ends these workers
        self.look()

    @rule()
    def work_to_the_end(self) -> None:
        syncs.run()
        self.look()

    @staticmethod
    def sync(job: Any) -> None:
        try:
            syncing.sync(job)
        except LeaseLost:
            assert not Job.objects.filter(**job.fence).exists()

    # ---- What can be found ------------------------------------------------------------------------------------------

    def look(self) -> None:
        """What can be found is whole, is what the bot names, and says what the bot's own file has said."""
        for bot_id, files in self.files.items():
            for location, text in found(bot_id).items():
                name = location.removeprefix("file:")
                assert name in files
                assert any(is_whole(text, text_of(bot_id, name, version)) for version in (0, 1, LONG)), text
        live = Edition.objects.filter(state=EditionState.LIVE, index__knowledge__bot__isnull=False)
        served = live.filter(index__knowledge__serving=F("index"))
        assert not served.exclude(document__knowledge__bot__in=self.files).exists()

    def teardown(self) -> None:
        try:
            syncs.run()
            self.compare()
            for letter in ("a", "b"):
                self.delete(letter)
            syncs.run()
            self.count_rows()
        finally:
            for bot_id in self.files:
                self.client.delete(f"/bot/{bot_id}")
            Job.objects.all().delete()
            deleting.purge_orphans()

    def compare(self) -> None:
        """The index is what the bots name, and nothing else is there."""
        for bot_id, files in self.files.items():
            answer = read(self.client, bot_id)
            assert answer["syncStatus"] == "SUCCEEDED", answer["syncStatusReason"]
            texts = found(bot_id)
            assert {location.removeprefix("file:") for location in texts} == set(files)
            for name, version in files.items():
                assert is_whole(texts[f"file:{name}"], text_of(bot_id, name, version)), (name, version)
            served = KnowledgeIndex.objects.filter(knowledge__bot=bot_id)
            for index in served:
                editions = Edition.objects.filter(index=index)
                findable = editions.aggregate(total=Sum("findable"))["total"] or 0
                assert set(editions.values_list("state", flat=True)) <= {EditionState.LIVE}
                assert editions.count() == len(files)
                assert index.chunks == findable == Chunk.objects.filter(index=index, is_parent=False).count()
                vectors = Vector.objects.filter(index_id=index.pk).values_list("group_id", "key")
                chunks = Chunk.objects.filter(index=index, is_parent=False).values_list("edition", "pk")
                assert sorted(vectors) == sorted(chunks)
                visible = VectorIndex.objects.filter(index_id=index.pk).values_list("visible", flat=True).first()
                assert (visible or 0) == findable
                assert findable == sum(len(indexing.indexed(index.knowledge_id, edition.pk)) for edition in editions)
            assert served.count() <= 1
        references = BlobReference.objects.filter(owner_kind=deleting.BLOB_OWNER)
        assert set(references.values_list("owner_id", flat=True)) == set(Edition.objects.values_list("pk", flat=True))
        assert not Job.objects.filter(kind__in=[revisions.KIND, deleting.KIND]).exists()

    def count_rows(self) -> None:
        """Of bots that are gone nothing is left."""
        assert not any(syncs.counts().values()), syncs.counts()
        assert not SearchDocument.objects.filter(kind=indexing.KIND).exists()
        words = [vocabulary.number(indexing.vocabulary_of(pk)) for pk in self.known]
        assert not SearchWord.objects.filter(vocabulary__in=words).exists()
        assert not BlobReference.objects.filter(owner_kind=deleting.BLOB_OWNER).exists()


def found(bot_id: str) -> dict[str, list[str]]:
    """Location → the texts of its chunks, as a search could find them."""
    serving = Knowledge.objects.filter(bot=bot_id).values_list("serving", flat=True).first()
    chunks = Chunk.objects.filter(edition__in=Edition.objects.filter(index=serving, state=EditionState.LIVE))
    rows = chunks.filter(is_parent=False).order_by("edition", "position")
    texts: dict[str, list[str]] = {}
    for location, text in rows.values_list("edition__document__location", "text"):
        texts.setdefault(location, []).append(text)
    return texts


def is_whole(texts: list[str], whole: str) -> bool:
    """Whether chunks, which may overlap, are a text from its beginning to its end."""
    return whole.startswith(texts[0][:20]) and whole.endswith(texts[-1][-20:]) and all(text in whole for text in texts)


def test_whatever_happens_the_index_is_what_the_bots_name_in_the_end(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upload_links, "MOST_A_DAY", 1_000_000)  # the histories are one day of one person
    Histories.client = alice
    run_state_machine_as_test(
        Histories,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if os.environ.get("SOAK") else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
