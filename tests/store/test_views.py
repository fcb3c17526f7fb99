"""The store as a whole: what it costs, who is let in, and a server without one."""

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import LazySettings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bots.models import Bot
from tests.bots.bot import body, make, pin, share
from tests.conversations.test_queries import statements
from tests.store.store import found, offer, picked, popular, refresh

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]


def cost(call: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert call()
    return len(statements(captured))


def test_statements_do_not_grow_with_the_bots_nor_with_the_groups(alice: APIClient, client_of: ClientOf) -> None:
    dan = client_of("dan", *(f"group {number}" for number in range(200)))
    costs = []
    for first in (0, 1):
        for number in range(first, 1 + 11 * first):
            make(alice, f"b{number}", title=f"Baker {number}")
            share(alice, f"b{number}", *(("all",) if number % 2 else ("partial", [], f"group {number}")))
        refresh()
        found(dan, "baker")  # Dan's row is there
        calls = (lambda: found(dan, "baker"), lambda: popular(dan), lambda: picked(dan))
        costs.append([cost(call) for call in calls])
    # user; grants and what they share, hits, instructions where the hits are few, access, entries
    # user; grants, the three parts, entries
    assert costs == [[7, 6, 6], [7, 6, 6]]


def test_admin_is_not_asked_for_grants(alice: APIClient, carol: APIClient) -> None:
    offer(alice, "b", "Baker")
    found(carol, "baker")
    assert cost(lambda: found(carol, "baker")) == 5


def test_without_a_store_nothing_is_shown_or_shared(
    alice: APIClient, bob: APIClient, carol: APIClient, settings: LazySettings
) -> None:
    offer(alice, "b", "Baker")
    make(alice, "own", title="Baker of Alice")
    pin(carol, "b", 1)
    refresh()
    settings.BOT_STORE = False
    for client in (alice, bob, carol):
        assert found(client, "baker") == popular(client) == picked(client) == []
        assert body(client.get("/bot/pinned")) == []
    for scope, people in (("all", ()), ("partial", (["bob"],)), ("partial", ([], "sales"))):
        assert share(alice, "own", scope, *people).status_code == 403
        assert share(carol, "own", scope, *people).status_code == 403
    assert Bot.objects.get(pk="own").scope == "private"
    assert share(alice, "own", "private").status_code == 200
    assert body(bob.get("/bot/summary/b"))["id"] == "b"  # what was shared stays usable
    pin(carol, "b", None)
    assert share(alice, "b", "private").status_code == 200
