"""A person's bots, as files of theirs."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bots import exporting
from bots.knowledge.models import SourceKind
from tests.bots.bot import KNOWLEDGE, edit, firecrawl, make, read, share, star
from tests.bots.knowledge.rows import document, known, source
from tests.conversations.chat import say
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]

WEB = {**KNOWLEDGE, "sourceUrls": ["https://x.example/"]}


def export(name: str, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """The files of bots, by their names, as lists of lines."""
    call_command("export_user", User.objects.get(username=name).pk, "--to", str(folder))
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in folder.glob("bot*.jsonl")
    }


def test_a_person_gets_their_bots_whole_with_all_versions_and_no_secret(
    alice: APIClient, carol: APIClient, tmp_path: Path
) -> None:
    make(alice, "one", agent=firecrawl("fc-secret"), instruction="You translate 日本語.")
    edit(alice, "one", title="Two")
    share(alice, "one", "partial", ["bob"], "sales")
    make(alice, "two", knowledge=WEB)
    make(carol, "carols", title="Carol's plan", knowledge=WEB)
    for bot_id, page in (("two", "https://x.example/a"), ("carols", "https://x.example/carols")):
        document(source(known(bot_id), SourceKind.WEB, "https://x.example/"), page, "A passage.", "Another one.")
    files = export("alice", tmp_path / "export")
    assert files["bots"] == [read(alice, "one"), read(alice, "two")]
    assert [(version["id"], version["version"]) for version in files["bot-versions"]] == [
        ("one", 1),
        ("one", 2),
        ("two", 1),
    ]
    assert files["bot-versions"][1].items() <= alice.get("/bot/one/versions/2").json().items()
    [page] = files["bot-documents"]
    assert (page["botId"], page["location"], page["state"], page["chunks"]) == (
        "two",
        "https://x.example/a",
        "ready",
        2,
    )
    assert files["bots"][0]["allowedCognitoGroups"] == ["sales"]
    assert files["bots"][0]["agent"]["tools"][0]["firecrawlConfig"]["apiKey"] == "********"
    everything = "".join(path.read_text() for path in (tmp_path / "export").glob("*.jsonl"))
    assert "fc-secret" not in everything
    assert "Carol's plan" not in everything
    assert "A passage." not in everything


def test_a_person_gets_what_they_starred_and_what_others_share_with_them(
    alice: APIClient, bob: APIClient, tmp_path: Path
) -> None:
    for bot_id in ("named", "starred", "gone"):
        make(alice, bot_id)
    share(alice, "named", "partial", ["bob", "dora"])
    for bot_id in ("starred", "gone"):
        share(alice, bot_id, "all")
        star(bob, bot_id)
    alice.delete("/bot/gone")
    files = export("bob", tmp_path / "export")
    assert (files["bots"], files["bot-versions"]) == ([], [])
    assert files["bot-grants"] == [{"botId": "named"}]
    assert [(entry["botId"], entry["title"], entry["isStarred"]) for entry in files["bot-stars"]] == [
        ("gone", "Title of gone", True),
        ("starred", "Title of starred", True),
    ]


def test_a_bot_that_is_deleted_meanwhile_is_left_out(alice: APIClient, tmp_path: Path) -> None:
    make(alice, "one")
    make(alice, "two")
    steps = exporting.export(User.objects.get().pk, tmp_path)
    assert next(steps) == "2 bots"
    alice.delete("/bot/one")
    assert next(steps) == "1 versions of bots"
    assert len(list(steps)) == 4


def test_an_exported_conversation_says_whether_its_bot_can_be_used(
    alice: APIClient, bob: APIClient, emulator: Emulator, tmp_path: Path
) -> None:
    for bot_id in ("kept", "taken"):
        make(alice, bot_id)
        share(alice, bot_id, "all")
        say(bob, bot_id, "hello", bot_id=bot_id)
    share(alice, "taken", "private")
    export("bob", tmp_path / "export")
    lines = (tmp_path / "export" / "conversations.jsonl").read_text().splitlines()
    available = {(exported := json.loads(line))["id"]: exported["botAvailable"] for line in lines}
    assert available == {"kept": True, "taken": False}
