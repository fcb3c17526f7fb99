"""Queries in five languages, each with the bot that must come first of two thousand: the same on every database."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone

from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bots.content import Content
from bots.models import Bot, Scope
from store import search
from store.models import Listing
from tests.store import filling

pytestmark = [pytest.mark.django_db, pytest.mark.both]

TABLE: dict[str, Any] = json.loads(Path(__file__).with_name("search_table.json").read_text())
"""`bots` are one by one; of each language there is a bot of each topic and role besides."""


def rows(owner: User) -> list[Bot]:
    """The unsaved rows of all bots, shared with everybody."""
    texts = {bot["id"]: (bot["title"], bot["description"]) for bot in TABLE["bots"]}
    for name, language in TABLE["languages"].items():
        for topic_number, topic in enumerate(language["topics"]):
            for role_number, role in enumerate(language["roles"]):
                texts[f"{name}-{topic_number:02}-{role_number:02}"] = (
                    language["title"].format(topic=topic, role=role),
                    language["description"].format(topic=topic, role=role),
                )
    now = timezone.now()
    columns: dict[str, Any] = {"configuration": Content().configuration, "scope": Scope.ALL}
    return [
        Bot(id=bot_id, owner=owner, title=title, description=description, created_at=now, updated_at=now, **columns)
        for bot_id, (title, description) in texts.items()
    ]


def test_every_query_finds_its_bot_first() -> None:
    bots = Bot.objects.bulk_create(rows(local.local_user("alice")))
    assert len(bots) >= 2_000
    filling.write([Listing(pk=number, bot=bot, is_everybodys=True, lot=0) for number, bot in enumerate(bots, start=1)])
    bob = Caller(user_id=local.local_user("bob").pk)
    wrong = {}
    for entry in TABLE["queries"]:
        hits = [hit.bot_id for hit in search.search(entry["query"], limit=3, actor=bob)]
        if hits[:1] != [entry["first"]]:
            wrong[entry["query"]] = (entry["first"], hits)
    assert wrong == {}


def test_the_table_is_wide_enough() -> None:
    """Sixty queries or more in five languages, with several of each difficulty."""
    kinds = Counter(entry["what"] for entry in TABLE["queries"])
    assert len(TABLE["languages"]) == 5
    assert len({entry["query"] for entry in TABLE["queries"]}) >= 60
    assert set(kinds) == {"name", "description", "half word", "typo", "accent", "emoji", "kana", "Han"}
    assert min(kinds.values()) >= 4
