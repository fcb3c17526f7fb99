"""Workers that are killed while Bedrock is at work for them: one guardrail for each bot, and none left over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.bots.guarding import there, trouble
from tests.emulator import Emulator
from tests.jobs.conftest import Workshop

pytestmark = [pytest.mark.both, pytest.mark.slow]

WAIT = 60.0  # seconds in which the worker is killed

PRELUDE = """
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bots import editing
alice = Caller(user_id=local.local_user("alice").pk, groups=frozenset({"CreatingBotAllowed"}))
zero = {name: 0 for name in (
    "insults_threshold", "sexual_threshold", "violence_threshold", "misconduct_threshold", "grounding_threshold",
    "relevance_threshold",
)}
def guarded(strength):
    names = {"is_guardrail_enabled": True, "guardrail_arn": "", "guardrail_version": ""}
    return {"bedrock_guardrails": {**names, **zero, "hate_threshold": strength}}
"""
MAKE = 'editing.create("{bot}", {{"title": "B", "instruction": "", **guarded(1)}}, actor=alice)'
CHANGE = 'editing.modify("{bot}", guarded(3), actor=alice)'
DELETE = 'editing.delete("{bot}", actor=alice)'


@pytest.fixture(scope="module")
def shop(database_url: str, data: Path, emulator_process: Emulator) -> Workshop:
    shop = Workshop(database_url, data)
    shop.environment |= {
        "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
        "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator_process.url,
        "JOB_LEASE_SECONDS": "2",
    }
    shop.run("from django.core.management import call_command; call_command('migrate', verbosity=0)")
    return shop


@pytest.fixture
def workshop(shop: Workshop, emulator_process: Emulator) -> Iterator[Workshop]:
    emulator_process.reset()
    yield shop
    shop.end()
    shop.workers.clear()


def do(workshop: Workshop, code: str, bot: str) -> None:
    workshop.run(PRELUDE + code.format(bot=bot))


def work_until(workshop: Workshop, condition: str) -> None:
    """Works until a statement has a row."""
    worker = workshop.work()
    workshop.until(lambda: workshop.sql(condition))
    worker.kill()


def killed_at(workshop: Workshop, emulator: Emulator, operation: str) -> None:
    """Works until Bedrock has done a call, whose answer does not arrive, and kills the worker."""
    before = len(emulator.requests())
    emulator.control("POST", "guardrails", {"troubles": [trouble(operation, wait=WAIT)]})
    worker = workshop.work()
    workshop.until(lambda: operation in [call["operation"] for call in emulator.requests()[before:]])
    worker.kill()
    emulator.control("POST", "guardrails", {})


def made(bot: str, version: str) -> str:
    return (
        "SELECT 1 FROM bots_bot b JOIN bots_botguardrail g ON g.bot_id = b.id "
        f"WHERE b.id = '{bot}' AND b.sync_status = 'SUCCEEDED' AND g.version = '{version}'"
    )


def found(emulator: Emulator) -> list[tuple[Any, ...]]:
    return [(guardrail["filters"]["HATE"], guardrail["versions"]) for guardrail in there(emulator)]


@pytest.mark.parametrize("operation", ["CreateGuardrail", "GetGuardrail", "CreateGuardrailVersion"])
def test_while_one_is_made(workshop: Workshop, emulator_process: Emulator, operation: str) -> None:
    bot = f"made-{operation}"
    do(workshop, MAKE, bot)
    killed_at(workshop, emulator_process, operation)
    work_until(workshop, made(bot, "1"))
    assert found(emulator_process) == [("LOW", ["1"])]


@pytest.mark.parametrize("operation", ["UpdateGuardrail", "CreateGuardrailVersion"])
def test_while_one_is_changed(workshop: Workshop, emulator_process: Emulator, operation: str) -> None:
    bot = f"changed-{operation}"
    do(workshop, MAKE, bot)
    work_until(workshop, made(bot, "1"))
    do(workshop, CHANGE, bot)
    killed_at(workshop, emulator_process, operation)
    work_until(workshop, made(bot, "2"))
    assert found(emulator_process) == [("HIGH", ["1", "2"])]


@pytest.mark.parametrize("steps", ["made", "unknown"])
def test_while_one_is_deleted(workshop: Workshop, emulator_process: Emulator, steps: str) -> None:
    """`unknown`: the worker that had it made was killed before it could write that down, and then the bot went."""
    bot = f"deleted-{steps}"
    do(workshop, MAKE, bot)
    if steps == "made":
        work_until(workshop, made(bot, "1"))
    else:
        killed_at(workshop, emulator_process, "CreateGuardrail")
    do(workshop, DELETE, bot)
    work_until(workshop, f"SELECT 1 FROM bots_botguardrail WHERE bot_id = '{bot}' AND unused_since IS NOT NULL")
    assert len(there(emulator_process)) == 1
    workshop.sql(f"UPDATE bots_botguardrail SET unused_since = '2020-01-01 00:00:00' WHERE bot_id = '{bot}'")
    workshop.sql(f"UPDATE bedrock_chat_job SET due_at = '2020-01-01 00:00:00' WHERE key = 'sync bot:{bot}'")
    killed_at(workshop, emulator_process, "DeleteGuardrail")
    gone = f"SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM bots_botguardrail WHERE bot_id = '{bot}')"
    work_until(workshop, gone)
    assert found(emulator_process) == []
