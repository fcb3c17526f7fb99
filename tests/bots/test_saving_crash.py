"""A process is killed at any step of saving a bot with a file: nothing is lost, and nothing is left for ever."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import default_storage
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bots.models import Bot, BotFile
from tests.bots import upload
from tests.bots.bot import body, edit, make, payload, read
from tests.bots.test_files import age, held, stored
from tests.bots.upload import change, digest, files_of, sources
from tests.conversations.test_crash import ROOT, database_url

SLOW = bool(os.environ.get("SLOW"))
pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), *([pytest.mark.slow] if SLOW else [])]

MOST_STEPS = 40
QUICK_STEPS = 4
"""There are about 25 steps. The quick run tries each fourth."""


def run(user: str, data: Path, saves: list[tuple[str, str, int | None]]) -> list[int]:
    """Has bots saved by processes that die at a step: way, bot and step of each. Returns how far each one came."""
    (data / "blobs").symlink_to(default_storage.path(""))
    environment = {
        **os.environ,
        "DEBUG": "true",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(data),
        "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.bots.saving_driver", user, json.dumps(saves)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps: list[int] = json.loads(done.stdout)
    return steps


def content_of(bot_id: str) -> bytes:
    return f"The file of {bot_id}.".encode()


@pytest.mark.parametrize("way", ["create", "modify"])
def test_a_bot_is_saved_again_whatever_step_a_kill_came_at(alice: APIClient, tmp_path: Path, way: str) -> None:
    steps = range(1, MOST_STEPS) if SLOW else range(1, MOST_STEPS, QUICK_STEPS)
    bots = {f"b{step}": step for step in steps}
    for bot_id in bots:
        upload.upload(alice, bot_id, "a.txt", content_of(bot_id))
        if way == "modify":
            make(alice, bot_id)
    data = tmp_path / "data"
    data.mkdir()
    came = run(User.objects.get().pk, data, [(way, bot_id, step) for bot_id, step in bots.items()])
    died = [bot_id for bot_id, steps_of_bot in zip(bots, came, strict=True) if steps_of_bot == bots[bot_id]]
    assert 20 / QUICK_STEPS <= len(died) < len(bots), "some die at each phase, and the last ones come to their end"
    for bot_id in bots:
        saved: Any = Bot.objects.filter(pk=bot_id).exists()
        if saved and files_of(read(alice, bot_id)):
            assert files_of(read(alice, bot_id)) == {"a.txt": digest(content_of(bot_id))}, bot_id
        elif saved:
            body(edit(alice, bot_id, knowledge=change(added=["a.txt"])))
        else:
            body(alice.post("/bot", payload(bot_id, knowledge=sources("a.txt")), format="json"))
    everything = {digest(content_of(bot_id)) for bot_id in bots}
    assert held() == everything
    age()
    assert set(stored()) == everything, "whatever was left lying about went"
    assert len(stored()) == len(everything)
    assert BotFile.objects.count() == len(bots)


def test_what_was_uploaded_for_a_bot_that_is_never_saved_goes(alice: APIClient, tmp_path: Path) -> None:
    upload.upload(alice, "b", "a.txt", b"hello")
    data = tmp_path / "data"
    data.mkdir()
    run(User.objects.get().pk, data, [("create", "b", 8)])
    assert stored()
    age()
    assert (stored(), held()) == ([], set())
