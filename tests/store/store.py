"""Short calls of the store."""

from typing import Any

from rest_framework.test import APIClient

from store import indexing, ranking
from tests.bots.bot import ids, make, share


def offer(client: APIClient, bot_id: str, title: str, scope: str = "all", **fields: Any) -> None:
    """Makes a bot that everybody may use, and that the store knows."""
    make(client, bot_id, **{"title": title, "description": "", "instruction": "", **fields})
    if scope != "private":
        assert share(client, bot_id, scope).status_code == 200
    refresh()


def refresh() -> None:
    """What the periodic jobs do."""
    indexing.index_what_is_new()
    ranking.refresh()


def found(client: APIClient, query: str, **parameters: Any) -> list[str]:
    """The ids of the bots that a search finds, the best first."""
    return ids(client.get("/store/search", {"query": query, **parameters}))


def popular(client: APIClient, **parameters: Any) -> list[str]:
    return ids(client.get("/store/popular", parameters))


def picked(client: APIClient, **parameters: Any) -> list[str]:
    return ids(client.get("/store/pickup", parameters))
