"""Kill -9 at random points of turns of five rounds: whoever asks again loses nothing that was paid or done.

`SOAK=1`, as `make soak` sets it, makes 200 turns, `TOOL_KILLS` any number; a few attempts of each turn are killed.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from conversations.content.rounds import NOT_KNOWN
from conversations.models import Message, Role
from tests.conversations.rounds.tooling import make_bot
from tests.conversations.test_crash import LEASE_SECONDS, ROOT, database_url
from tests.emulator import Emulator
from tests.forking import client as forking

ROUNDS = 5
DRIVER = "tests.conversations.rounds.kill_driver"


@pytest.mark.slow
@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_kills_at_random_points_of_turns_with_tools(
    client_of: Callable[..., APIClient], emulator: Emulator, tmp_path: Path
) -> None:
    count = int(os.environ.get("TOOL_KILLS") or (200 if os.environ.get("SOAK") else 20))
    make_bot(client_of("alice", "CreatingBotAllowed"))
    user, lines = User.objects.get(username="alice"), tmp_path / "lines"
    lines.touch()
    environment = {
        **os.environ,
        "DEBUG": "true",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(tmp_path),
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator.url,
        "TURN_LEASE_SECONDS": str(LEASE_SECONDS),
        "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
    }
    command = [sys.executable, "-m", DRIVER, user.pk, str(count), str(lines)]
    done = forking.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60 + 8 * count, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    outcome = json.loads(done.stdout)
    assert outcome["left"] == []
    assert outcome["kills"] >= count / 2, "kills hit turns"
    refused = [request for request in emulator.requests() if request["status"] >= 400]
    assert refused == [], "no prompt is refused"
    ran = Counter(lines.read_text().splitlines())
    twice = {line: times for line, times in ran.items() if line.startswith("write ") and times > 1}
    assert twice == {}, "no writing tool runs twice"
    logs = {}
    for number in range(count):
        answer = Message.objects.filter(
            parent__external_id=f"q-c{number}", role=Role.ASSISTANT, stop_reason="end_turn"
        ).get()
        assert answer.content[0]["body"] == "The tool said something useful."
        assert Message.objects.get(external_id=f"q-c{number}").rounds is None
        blocks = [block for one in answer.thinking_log[::2] for block in one["content"]]
        uses = [block["body"] for block in blocks if block["contentType"] == "toolUse"]
        bodies = [block["body"] for one in answer.thinking_log[1::2] for block in one["content"]]
        logs[f"c{number}"] = {body["toolUseId"]: body for body in bodies}
        assert len(answer.thinking_log) == 2 * ROUNDS
        queries = {use["toolUseId"]: (use["name"], use["input"]["query"]) for use in uses}
        for use, body in logs[f"c{number}"].items():
            name, query = queries[use]
            if body["status"] == "success":
                assert ran[f"{name} c{number} {query}"] >= 1
            else:
                assert (name, body["content"]) == ("write", [{"text": NOT_KNOWN}])
    stored = 0
    for seen in outcome["seen"]:
        final = logs[seen["conversation"]]
        assert all(final[use]["content"] == content for use, content in seen["results"].items()), "a result is used"
        assert seen["paid"] >= seen["rounds"], "every paid round is in the ledger"
        stored += len(seen["results"])
    assert stored > count, "there were results to be used again"
    for number in range(count):
        assert ModelCall.objects.filter(conversation_external_id=f"c{number}").count() >= ROUNDS + 1
