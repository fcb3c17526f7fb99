"""A process is killed at any step of saving a bot with a file: nothing is lost, and nothing is left for ever."""

import json
import os
import sys
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bots.models import Bot, BotFile, BotVersion, TakenBotId
from tests.bots import upload
from tests.bots.bot import body, edit, make, payload, read
from tests.bots.test_files import age, held, stored
from tests.bots.upload import change, digest, files_of, sources
from tests.conversations.test_crash import ROOT, database_url
from tests.forking import client as forking

SLOW = bool(os.environ.get("SLOW"))
pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True), *([pytest.mark.slow] if SLOW else [])]

MOST_STEPS = 40
QUICK_STEPS = 4
"""There are about 25 steps. The quick run tries each fourth."""


def run(user: str, folder: Path, saves: list[tuple[str, str, int | None]]) -> list[int]:
    """Has bots saved by processes that die at a step: way, bot and step of each. Returns how far each one came."""
    data = folder / "data"
    data.mkdir()
    (data / "blobs").symlink_to(default_storage.path(""))
    environment = {
        **os.environ,
        "DEBUG": "true",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(data),
        "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
    }
    done = forking.run(
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


def test_an_import_is_whole_or_not_there_whatever_step_a_kill_came_at(alice: APIClient, tmp_path: Path) -> None:
    Path(default_storage.path("")).mkdir()
    make(alice, "other")
    titles = [f"import-{step}" for step in (range(1, MOST_STEPS) if SLOW else range(1, MOST_STEPS, 2 * QUICK_STEPS))]
    run(User.objects.get().pk, tmp_path, [("import", title, int(title.partition("-")[2])) for title in titles])
    whole = sorted(Bot.objects.exclude(pk="other").values_list("title", flat=True))
    assert 0 < len(whole) < len(titles)
    assert Bot.objects.count() == BotVersion.objects.count() == TakenBotId.objects.count() == len(whole) + 1
    for bot in Bot.objects.exclude(pk="other"):
        assert files_of(read(alice, bot.pk)) == {"a.txt": digest(bot.title.encode())}
    digests = sorted(digest(title.encode()) for title in whole)
    assert held() == set(digests)
    age()
    assert sorted(stored()) == digests, "what the others have left lying about went"


def test_a_bot_is_saved_again_whatever_step_a_kill_came_at(alice: APIClient, tmp_path: Path) -> None:
    steps = range(1, MOST_STEPS) if SLOW else range(1, MOST_STEPS, QUICK_STEPS)
    saves = {f"{way}-{step}": (way, step) for way in ("create", "modify") for step in steps}
    for bot_id, (way, _) in saves.items():
        upload.upload(alice, bot_id, "a.txt", content_of(bot_id))
        if way == "modify":
            make(alice, bot_id)
    came = run(User.objects.get().pk, tmp_path, [(way, bot_id, step) for bot_id, (way, step) in saves.items()])
    died = [bot_id for (bot_id, (_, step)), steps_done in zip(saves.items(), came, strict=True) if steps_done == step]
    assert 40 / QUICK_STEPS <= len(died) < len(saves), "some die in each phase, and the last ones come to their end"
    abandoned = died[0]
    assert not Bot.objects.filter(pk=abandoned).exists()
    for bot_id in saves.keys() - {abandoned}:
        if not Bot.objects.filter(pk=bot_id).exists():
            body(alice.post("/bot", payload(bot_id, knowledge=sources("a.txt")), format="json"))
        elif not files_of(read(alice, bot_id)):
            body(edit(alice, bot_id, knowledge=change(added=["a.txt"])))
        assert files_of(read(alice, bot_id)) == {"a.txt": digest(content_of(bot_id))}, bot_id
    everything = sorted(digest(content_of(bot_id)) for bot_id in saves.keys() - {abandoned})
    assert held() == set(everything)
    age()
    assert sorted(stored()) == everything, "whatever else was left lying about went"
    assert BotFile.objects.count() == len(everything)
