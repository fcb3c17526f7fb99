"""Short calls of the API: make a bot, share it, read it."""

from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.test import APIClient

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bots import chatting

THRESHOLDS = {
    "hateThreshold": 0,
    "insultsThreshold": 0,
    "sexualThreshold": 0,
    "violenceThreshold": 0,
    "misconductThreshold": 0,
    "groundingThreshold": 0,
    "relevanceThreshold": 0,
}
KNOWLEDGE: dict[str, list[str]] = {"sourceUrls": [], "sitemapUrls": [], "filenames": [], "s3Urls": []}
PARAMETERS = {
    "maxTokens": 2000,
    "topK": 100,
    "topP": 0.9,
    "temperature": 0.5,
    "stopSequences": ["STOP"],
    "reasoningParams": {"budgetTokens": 2048},
}


def payload(bot_id: str, **fields: Any) -> dict[str, Any]:
    """The body of a creation. `fields` are on the wire's names, and replace what a plain bot has."""
    return {
        "id": bot_id,
        "title": f"Title of {bot_id}",
        "instruction": f"You are {bot_id}.",
        "description": f"Description of {bot_id}",
        "generationParams": None,
        "agent": {"tools": []},
        "knowledge": None,
        "displayRetrievedChunks": False,
        "conversationQuickStarters": [],
        "activeModels": {},
        **fields,
    }


def document(**fields: Any) -> dict[str, Any]:
    """The body of an import. `fields` are those of the bot."""
    return {"schema": "bedrock-chat-bot", "version": 1, "bot": {"title": "t", "instruction": "i", **fields}}


def make(client: APIClient, bot_id: str, **fields: Any) -> dict[str, Any]:
    """Makes a bot, and returns the answer's body."""
    return body(client.post("/bot", payload(bot_id, **fields), format="json"))


def edit(client: APIClient, bot_id: str, **fields: Any) -> Response:
    return client.patch(f"/bot/{bot_id}", fields, format="json")


def share(client: APIClient, bot_id: str, scope: str, users: list[str] | None = None, *groups: str) -> Response:
    """Shares a bot. `users` are names of local people."""
    wanted: dict[str, Any] = {"targetSharedScope": scope}
    if scope == "partial":
        ids = [local.local_user(name).pk for name in users or []]
        wanted |= {"targetAllowedUserIds": ids, "targetAllowedGroupIds": list(groups)}
    return client.patch(f"/bot/{bot_id}/visibility", wanted, format="json")


def star(client: APIClient, bot_id: str, *, starred: bool = True) -> Response:
    return client.patch(f"/bot/{bot_id}/starred", {"starred": starred}, format="json")


def pin(client: APIClient, bot_id: str, order: int | None) -> Response:
    """Pins a bot; with the order None it unpins it."""
    wanted = {"toPinned": False} if order is None else {"toPinned": True, "order": order}
    return client.patch(f"/admin/bot/{bot_id}/pushed", wanted, format="json")


def use(name: str, bot_id: str, at: datetime | None = None) -> None:
    """What a local person's turn writes of a bot, without asking a model. Raises NotFound where it is not theirs."""
    actor = Caller(user_id=local.local_user(name).pk)
    bot = chatting.get(bot_id, actor=actor)
    with transaction.atomic(), Batch() as batch:
        chatting.note_turn(batch, bot, at or timezone.now(), is_use=True, actor=actor)


def read(client: APIClient, bot_id: str) -> dict[str, Any]:
    """The bot as its owner opens it."""
    return body(client.get(f"/bot/private/{bot_id}"))


def body(response: Any) -> Any:
    assert response.status_code == 200, response.content
    return response.json()


def ids(response: Any) -> list[str]:
    return [entry["id"] for entry in body(response)]


def firecrawl(key: str, *, name: str = "internet_search") -> dict[str, Any]:
    """An agent with one tool, which has a secret."""
    return {
        "tools": [
            {
                "toolType": "internet",
                "name": name,
                "description": "Searches.",
                "searchEngine": "firecrawl",
                "firecrawlConfig": {"apiKey": key, "maxResults": 5},
            }
        ]
    }


def refused(client: APIClient, field: str, value: Any) -> list[str]:
    """Sends the field with a creation and with an edit, each of which must be refused. Returns the sentences."""
    created = client.post("/bot", {**payload("refused"), field: value}, format="json")
    edited = edit(client, "b", **{field: value})
    assert (created.status_code, edited.status_code) == (400, 400), (value, created.content, edited.content)
    errors: list[str] = edited.json()["errors"]
    assert all(error.startswith(field) for error in errors), errors
    return errors
