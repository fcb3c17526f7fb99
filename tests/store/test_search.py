"""Searching the store: who finds what, by which words, and how soon."""

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from bots.models import Bot
from store import indexing, search
from tests.bots.bot import body, edit, make, share, star
from tests.store.store import found, offer, refresh

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]


# ---- Who finds what -------------------------------------------------------------------------------------------------


def test_everybody_finds_what_they_may_use_and_nothing_else(
    alice: APIClient, bob: APIClient, client_of: ClientOf
) -> None:
    dan = client_of("dan", "sales")
    for scope in ("own", "partial", "all"):
        make(alice, scope, title=f"Baker {scope}", description="Bakes bread.")
    share(alice, "partial", "partial", ["bob"], "sales")
    share(alice, "all", "all")
    refresh()
    assert set(found(alice, "baker")) == {"own", "partial", "all"}
    assert set(found(bob, "bread")) == {"partial", "all"}
    assert set(found(dan, "bread")) == {"partial", "all"}
    assert found(client_of("eve", "Sales"), "baker") == ["all"]


def test_admin_finds_what_is_shared_with_anybody_too_but_nobody_elses_private_bots(
    alice: APIClient, carol: APIClient
) -> None:
    for scope in ("own", "partial", "all"):
        make(alice, scope, title=f"Baker {scope}")
    share(alice, "partial", "partial", ["bob"])
    share(alice, "all", "all")
    make(carol, "carols", title="Baker of Carol")
    refresh()
    assert set(found(carol, "baker")) == {"partial", "all", "carols"}


def test_instructions_are_searched_for_the_owner_and_admin_alone(
    alice: APIClient, bob: APIClient, carol: APIClient
) -> None:
    offer(alice, "b", "Baker", instruction="Never mention the sourdough of Rumpelstilzchen.")
    assert found(alice, "rumpelstilzchen") == ["b"]
    assert found(carol, "rumpelstilzchen") == ["b"]
    assert found(bob, "rumpelstilzchen") == []
    assert found(bob, "rumpelstilzche") == []
    offer(alice, "own", "Cook", "private", instruction="The secret is Rumpelstilzchen.")
    assert set(found(alice, "rumpelstilzchen")) == {"b", "own"}
    assert found(carol, "rumpelstilzchen") == ["b"]


def test_whoever_loses_access_finds_it_no_more_although_nothing_is_indexed(
    alice: APIClient, bob: APIClient, carol: APIClient
) -> None:
    offer(alice, "b", "Baker", instruction="Rumpelstilzchen")
    assert found(bob, "baker") == ["b"]
    share(alice, "b", "private")
    assert found(bob, "baker") == []
    assert found(carol, "baker rumpelstilzchen") == []
    assert found(alice, "baker") == ["b"]
    share(alice, "b", "partial", ["bob"])
    assert found(bob, "baker") == ["b"]
    assert alice.delete("/bot/b").status_code == 200
    assert found(alice, "baker") == found(bob, "baker") == []


def test_an_instruction_goes_with_the_bot_to_its_new_owner_at_once(alice: APIClient, bob: APIClient) -> None:
    offer(alice, "b", "Baker", instruction="Rumpelstilzchen")
    body(bob.get("/bot"))
    Bot.objects.update(owner=local.local_user("bob"))
    assert found(alice, "rumpelstilzchen") == []


def test_what_many_groups_share_is_found_by_the_index(
    alice: APIClient, client_of: ClientOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond MOST_READ documents are not read as a whole."""
    for number in range(3):
        make(alice, f"b{number}", title=f"Baker {number}")
        share(alice, f"b{number}", "partial", [], "sales")
    refresh()
    dan = client_of("dan", "sales", "others")
    every = set(found(dan, "baker"))
    monkeypatch.setattr(search, "MOST_READ", 1)
    monkeypatch.setattr("store.models.MOST_NAMED", 1)
    assert every == set(found(dan, "baker")) == {"b0", "b1", "b2"}
    assert found(client_of("eve", "others"), "baker") == []


# ---- By which words -------------------------------------------------------------------------------------------------


def test_a_title_weighs_more_than_a_description_and_that_more_than_an_instruction(alice: APIClient) -> None:
    offer(alice, "instructed", "Cook", instruction="You are a baker.")
    offer(alice, "described", "Cook", description="As good as a baker.")
    offer(alice, "titled", "Baker", description="Makes cakes and rolls.")
    assert found(alice, "baker") == ["titled", "described", "instructed"]


def test_all_words_of_a_query_may_stand_in_different_fields(alice: APIClient, bob: APIClient) -> None:
    offer(alice, "french", "Translator", description="From English into French.", instruction="Be polite.")
    offer(alice, "latin", "Translator", description="From English into Latin.")
    assert found(bob, "translator french") == ["french"]
    assert found(alice, "translator polite") == ["french"]


def test_typos_are_corrected_to_words_of_everybodys_bots_alone(alice: APIClient, bob: APIClient) -> None:
    offer(alice, "b", "Zeppelin", instruction="Sourdough")
    offer(alice, "p", "Rumpelstilzchen", "private")
    make(alice, "q", title="Schneewittchen")
    share(alice, "q", "partial", ["bob"])
    refresh()
    assert found(bob, "zepelin") == found(bob, "zeppe") == ["b"]
    assert found(bob, "Schneewittchen") == ["q"]
    assert found(bob, "Schneewitchen") == []
    assert found(alice, "Rumpelstilzhen") == []
    assert found(alice, "sourdouhg") == []
    share(alice, "b", "private")
    refresh()
    assert found(alice, "zepelin") == []


@pytest.mark.parametrize("query", ["", " ", "…", "'", '"', "*", ":heading", "NOT", "a' | 'b", "\x00", "🦄"])
def test_queries_without_an_answer_are_answered(alice: APIClient, query: str) -> None:
    offer(alice, "b", "Baker")
    response = alice.get("/store/search", {"query": query})
    assert (response.status_code, response.json() if query != "\x00" else []) in ((200, []), (400, []))


def test_what_is_no_query_or_no_limit_is_refused(alice: APIClient) -> None:
    assert alice.get("/store/search").status_code == 400
    assert alice.get("/store/search", {"query": "a" * 10_001}).status_code == 400
    for limit in ("0", "101", "-1", "many", "1.5"):
        for path in ("/store/search", "/store/popular", "/store/pickup"):
            assert alice.get(path, {"query": "baker", "limit": limit}).status_code == 400, (path, limit)


# ---- What is shown, and when ----------------------------------------------------------------------------------------


def test_a_hit_is_shown_like_a_bot_of_a_list(alice: APIClient, bob: APIClient) -> None:
    offer(alice, "b", "Baker", description="Bakes.")
    star(bob, "b")
    [hit] = body(bob.get("/store/search", {"query": "baker"}))
    [own] = body(alice.get("/bot"))
    assert hit == {**own, "owned": False, "isStarred": True}


def test_the_limit_is_twenty_unless_it_is_told(alice: APIClient, bob: APIClient) -> None:
    for number in range(22):
        make(alice, f"b{number}", title=f"Baker {number}")
        share(alice, f"b{number}", "all")
    refresh()
    assert len(found(bob, "baker")) == 20
    assert len(found(bob, "baker", limit=100)) == 22
    assert len(found(bob, "baker", limit=1)) == 1


def test_an_edit_is_found_once_it_is_indexed(alice: APIClient, bob: APIClient) -> None:
    offer(alice, "b", "Baker")
    edit(alice, "b", title="Butcher")
    assert indexing.index_what_is_new() == 1
    assert indexing.index_what_is_new() == 0
    assert found(bob, "butcher") == ["b"]
    assert found(bob, "baker") == []


def test_a_star_and_an_edit_of_nothing_index_nothing(alice: APIClient) -> None:
    offer(alice, "b", "Baker")
    star(alice, "b")
    edit(alice, "b", title="Baker")
    assert indexing.index_what_is_new() == 0


def test_one_bot_that_cannot_be_indexed_delays_no_other(
    alice: APIClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make(alice, "bad", title="Baker")
    make(alice, "good", title="Baker")
    groups_of = indexing.groups_of

    def fail_on_bad(number: int, bot: Bot) -> object:
        if bot.pk == "bad":
            raise RuntimeError("It cannot be.")
        return groups_of(number, bot)

    monkeypatch.setattr(indexing, "groups_of", fail_on_bad)
    monkeypatch.setattr(indexing, "_set_back", {})
    assert indexing.index_what_is_new() == 1
    assert "The bot bad could not be indexed" in caplog.text
    assert found(alice, "baker") == ["good"]
    assert indexing.index_what_is_new() == 0  # it waits for its next try


def test_indexing_everything_anew_changes_nothing_that_is_found(alice: APIClient) -> None:
    offer(alice, "b", "Baker")
    indexing.index_everything_anew()
    assert found(alice, "baker") == ["b"]
    assert indexing.index_what_is_new() == 1
    assert found(alice, "baker") == ["b"]
