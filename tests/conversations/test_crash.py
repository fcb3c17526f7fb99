"""Kill the process at any point of a turn: the question is there, the conversation opens, the turn can be retried.

What was used of a budget is what the ledger says then, and nothing stays reserved.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.budgets import expiring, reconciling
from bedrock_chat.ledger.budgets.models import BudgetCounter, Reservation, Unit
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation, Message
from tests.conversations.chat import read, say, text_of
from tests.emulator import Emulator
from tests.forking import client as forking
from tests.ledger.budgets.spending import budget

ROOT = Path(__file__).resolve().parent.parent.parent
LEASE_SECONDS = 1


def database_url() -> str:
    """The address of the database this test runs on, for another process."""
    database = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{database['NAME']}"
    host = database["HOST"] or database["OPTIONS"].get("host", "")
    if host.startswith("/"):
        return f"postgresql://{database['USER']}@/{database['NAME']}?host={host}"
    return (
        f"postgresql://{database['USER']}:{database['PASSWORD']}@{host}:{database['PORT'] or 5432}/{database['NAME']}"
    )


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_turn_survives_a_kill_at_every_step(
    client_of: Callable[..., APIClient], emulator: Emulator, tmp_path: Path
) -> None:
    alice = client_of("alice")
    alice.get("/conversations")
    user = User.objects.get(username="alice")
    for unit in Unit:
        budget(user.pk, "1000000", unit=unit)
    environment = {
        **os.environ,
        "DEBUG": "true",
        "DATABASE_URL": database_url(),
        "DATA_DIR": str(tmp_path),
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator.url,
        "TURN_LEASE_SECONDS": str(LEASE_SECONDS),
        "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
    }
    done = forking.run(
        [sys.executable, "-m", "tests.conversations.crash_driver", user.pk],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    died = json.loads(done.stdout)
    assert len(died) > 35  # statements and events of both kinds of turn, each once
    time.sleep(LEASE_SECONDS + 0.2)
    kept = 0
    for conversation, step in died.items():
        response = alice.get(f"/conversation/{conversation}")
        if response.status_code == 404:
            assert not Conversation.objects.filter(external_id=conversation).exists(), step
            continue
        kept += 1
        assert "q1" in response.json()["messageMap"], step
    assert kept >= len(died) / 2, died
    cut = 0
    for conversation, step in died.items():
        assert say(alice, conversation, "hello", message_id="q1").status_code == 200, step
        stored = read(alice, conversation)
        assert text_of(stored["messageMap"][stored["lastMessageId"]]) == "Echo: hello", step
        partial = [message for message in stored["messageMap"].values() if message.get("stopReason") == "interrupted"]
        assert len(stored["messageMap"]) == 3 + len(partial), step
        assert all("Echo: hello".startswith(text_of(message)) for message in partial), step
        cut += len(partial)
    assert cut >= 4  # checkpoints outlived their processes
    assert not Message.objects.filter(lease_expires_at__isnull=False).exists()
    Reservation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert expiring.return_all_expired() > 4
    assert [one.difference for one in reconciling.compare_all()] == [0, 0]
    assert set(BudgetCounter.objects.values_list("reserved", flat=True)) == {0}
    assert ModelCall.objects.count() > len(died)
