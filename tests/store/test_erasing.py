"""What is left in the store of bots that are gone, and of people: nothing."""

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.search.models import SearchDocument, SearchWord
from bots import editing
from store import indexing
from store.models import Listing
from tests.bots.bot import make, share, use
from tests.store.store import found, offer, popular, refresh
from tests.traces import anything_of

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
WORD = "rumpelstilzchen"


def test_a_deleted_bot_leaves_the_store_with_the_next_job(alice: APIClient) -> None:
    offer(alice, "b", WORD, description=WORD, instruction=WORD)
    offer(alice, "other", "Baker")
    assert alice.delete("/bot/b").status_code == 200
    assert Job.objects.get(kind=editing.FORGET).payload == {"bot": "b"}
    [job] = [job for job in queue.claim("worker", 50) if job.kind == editing.FORGET]
    indexing.forget_one(job)
    assert not Job.objects.filter(kind=editing.FORGET).exists()
    assert list(Listing.objects.values_list("bot_id", flat=True)) == ["other"]
    assert not SearchDocument.objects.filter(words__contains=WORD).exists()
    assert not SearchWord.objects.filter(word=WORD).exists()
    assert found(alice, "baker") == ["other"]


def test_an_erased_person_leaves_no_word_in_the_store(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    for bot_id, scope in (("private", "private"), ("all", "all")):
        offer(alice, f"{bot_id}-bot", WORD, scope, description=WORD, instruction=WORD)
    make(alice, "not-indexed", title=WORD)
    make(carol, "carols", title="Baker")
    share(carol, "carols", "partial", ["alice"])
    offer(carol, "every", "Baker")
    for name in ("alice", "bob"):
        use(name, "every")
    refresh()
    before = Listing.objects.get(bot="every").popularity
    sub = User.objects.get(username="alice").pk
    list(erasing.erase(sub, actor=Program.command("erase_user")))
    assert anything_of(WORD) == []
    refresh()
    assert set(anything_of(sub)) <= {"bedrock_chat_auditentry"}
    assert sorted(Listing.objects.values_list("bot_id", flat=True)) == ["carols", "every"]
    assert Listing.objects.get(bot="every").popularity == pytest.approx(before / 2)
    assert popular(bob) == ["every"]


def test_what_is_gone_is_forgotten_however_much_it_is(alice: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "AT_ONCE", 2)
    for number in range(5):
        make(alice, f"b{number}", title=WORD)
    refresh()
    for number in range(5):
        assert alice.delete(f"/bot/b{number}").status_code == 200
    assert indexing.forget_gone() == 5
    assert indexing.forget_gone() == 0
    assert not SearchDocument.objects.exists()
