"""`manage.py rebuild_search`: everything is indexed again, and searches go on meanwhile."""

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.search.models import SearchDocument, SearchWord
from conversations.management.commands import rebuild_search
from conversations.models import Conversation
from conversations.search import hits, indexing
from tests import build

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


@pytest.fixture
def find() -> Callable[[str], list[str]]:
    """Indexes three conversations of Alice. Returns her search: query → sorted conversation ids."""
    alice = local.local_user("alice")
    for number in range(3):
        build.exchange(build.conversation(alice, f"c{number}", title=f"Number {number}"), f"lighthouse {number}")
    indexing.index_what_is_new()
    return lambda query: sorted(hit["id"] for hit in hits.search(query, actor=Caller(user_id=alice.pk)))


def rebuild(*arguments: str) -> str:
    out = StringIO()
    call_command("rebuild_search", *arguments, stdout=out)
    return out.getvalue()


def test_everything_is_indexed_anew(find: Callable[[str], list[str]]) -> None:
    SearchDocument.objects.filter(key__gt=0).update(words="whatever an older tokenizer made")
    assert find("lighthouse") == []
    assert "done: 3 conversations" in rebuild()
    assert find("lighthouse") == ["c0", "c1", "c2"]
    assert find("tokenizer") == []
    assert SearchDocument.objects.count() == 9
    assert not Conversation.objects.to_be_indexed().exists()


def test_searches_go_on_meanwhile(find: Callable[[str], list[str]]) -> None:
    indexing.index_everything_anew()
    assert find("lighthouse") == ["c0", "c1", "c2"]
    indexing.index_what_is_new(limit=1)
    assert find("lighthouse") == ["c0", "c1", "c2"]


def test_an_interrupted_rebuild_goes_on_where_it_was(
    find: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = set(SearchDocument.objects.values_list("pk", flat=True))
    calls: list[int] = []

    def interrupted(limit: int, _index: Any = indexing.index_what_is_new) -> int:
        if calls:
            raise KeyboardInterrupt
        calls.append(limit)
        return _index(1)

    monkeypatch.setattr(indexing, "index_what_is_new", interrupted)
    with pytest.raises(CommandError, match="2 conversations are left"):
        rebuild()
    monkeypatch.undo()
    new = set(SearchDocument.objects.values_list("pk", flat=True)) - before
    assert len(new) == 3
    assert "2 conversations" in rebuild("--resume")
    assert new < set(SearchDocument.objects.values_list("pk", flat=True))
    assert not before & set(SearchDocument.objects.values_list("pk", flat=True))


def test_it_tells_how_far_it_is(find: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild_search, "REPORT_EVERY", 0.0)
    monkeypatch.setattr(rebuild_search, "AT_ONCE", 1)
    lines = rebuild().splitlines()
    assert lines[0] == "3 conversations"
    assert lines[1].startswith("1 of 3, 33%, about 0 minutes left")
    assert lines[-1] == "done: 3 conversations, 0 bots"


def test_words_are_counted_anew_too(find: Callable[[str], list[str]]) -> None:
    rebuild()
    assert SearchWord.objects.get(word="lighthouse").documents == 6
    assert find("lighthuose") == ["c0", "c1", "c2"]
