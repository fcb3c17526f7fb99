"""All that is stored of a person, as files of theirs."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from conversations import access
from conversations.models import Conversation
from conversations.tree import Tree
from tests import build
from tests.conversations.chat import read, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_person_gets_what_is_theirs_and_nothing_of_others(
    client_of: ClientOf, emulator: Emulator, png: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice, bob = client_of("alice", "CreatingBotAllowed"), client_of("bob")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    say(alice, "c1", [image, {"contentType": "text", "body": "こんにちは"}])
    say(alice, "c2", "hello")
    say(bob, "c1", "Bob's secret")
    folder = tmp_path / "export"
    user = User.objects.get(username="alice")
    call_command("export_user", user.pk, "--to", str(folder))
    assert "2 of 2 conversations" in capsys.readouterr().out
    assert json.loads((folder / "user.json").read_text())["username"] == "alice"
    first, second = lines(folder / "conversations.jsonl")
    conversation = read(alice, "c1")
    question = next(message for message in first["messageMap"].values() if message["role"] == "user")
    path = question["content"][0].pop("body")
    assert base64.b64encode((folder / path).read_bytes()).decode() == png
    stored = next(message for message in conversation["messageMap"].values() if message["role"] == "user")
    stored["content"][0].pop("body")
    assert question == stored
    assert (second["id"], second["relatedDocuments"]) == ("c2", [])
    assert [call["conversation_id"] for call in lines(folder / "calls.jsonl")] == ["c1", "c2"]
    everything = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    assert "Bob" not in everything
    assert len(list((folder / "files").iterdir())) == 1


def test_a_folder_with_something_in_it_is_left_alone(client_of: ClientOf, tmp_path: Path) -> None:
    client_of("alice").get("/conversations")
    (tmp_path / "precious").touch()
    with pytest.raises(CommandError, match="not empty"):
        call_command("export_user", User.objects.get(username="alice").pk, "--to", str(tmp_path))


def test_whoever_is_not_there_is_said_so(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="No user found"):
        call_command("export_user", "nobody", "--to", str(tmp_path / "x"))


def test_a_lost_file_is_noted_and_the_rest_goes_on(
    client_of: ClientOf, emulator: Emulator, png: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    notes = {"contentType": "attachment", "fileName": "notes.txt", "body": "bm90ZXM="}
    text = {"contentType": "text", "body": "look"}
    say(alice, "c1", [image, notes, text], message_id="q1")
    say(alice, "c2", [notes, text], message_id="q1")
    build.lose(hashlib.sha256(base64.b64decode(png)).hexdigest())
    call_command("export_user", User.objects.get(username="alice").pk, "--to", str(tmp_path / "export"))
    out = capsys.readouterr().out
    assert "image.png of conversation c1 is lost" in out
    assert "notes.txt" not in out
    assert "2 of 2 conversations" in out
    first, second = lines(tmp_path / "export" / "conversations.jsonl")
    [lost, kept, last] = first["messageMap"]["q1"]["content"]
    assert (lost, last) == ({**image, "body": "", "lost": True}, text)
    assert (tmp_path / "export" / kept["body"]).read_bytes() == b"notes"
    assert second["messageMap"]["q1"]["content"] == [kept, text]
    assert len(lines(tmp_path / "export" / "calls.jsonl")) == 2


def test_what_is_deleted_meanwhile_is_left_out(
    client_of: ClientOf, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = client_of("alice")
    say(alice, "c1", "hello")
    say(alice, "c2", "hello")
    read_tree = access.read_tree

    def deleted_meanwhile(conversation: Conversation, now: datetime) -> Tree:
        tree = read_tree(conversation, now)
        if conversation.external_id == "c1":
            alice.delete("/conversation/c1")
        return tree

    monkeypatch.setattr(access, "read_tree", deleted_meanwhile)
    call_command("export_user", User.objects.get(username="alice").pk, "--to", str(tmp_path / "export"))
    assert [line["id"] for line in lines(tmp_path / "export" / "conversations.jsonl")] == ["c2"]
