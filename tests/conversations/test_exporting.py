"""All that is stored of a person, as files of theirs."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
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
    told = read(alice, "c1")
    question = next(message for message in first["messageMap"].values() if message["role"] == "user")
    path = question["content"][0].pop("body")
    assert base64.b64encode((folder / path).read_bytes()).decode() == png
    stored = next(message for message in told["messageMap"].values() if message["role"] == "user")
    stored["content"][0].pop("body")
    assert question == stored
    assert (second["id"], second["relatedDocuments"]) == ("c2", [])
    assert [call["conversation_id"] for call in lines(folder / "calls.jsonl")] == ["c1", "c2"]
    everything = "".join(each.read_text(errors="replace") for each in folder.rglob("*") if each.is_file())
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
