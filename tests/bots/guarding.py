"""Guardrails in tests: bots that have one, the job that makes it, and what the emulator has of it."""

from datetime import timedelta
from typing import Any

from django.db import transaction
from rest_framework.test import APIClient

from bedrock_chat.bedrock.guardrails import GUARDRAILS
from bedrock_chat.database.connections import database_now
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State
from bedrock_chat.jobs.queue import Claimed
from tests.bots.bot import THRESHOLDS, edit, make, read
from tests.conversations.chat import say
from tests.emulator import Emulator
from tests.serving.conftest import eventually

OFF: dict[str, Any] = {"isGuardrailEnabled": False, "guardrailArn": "", "guardrailVersion": "", **THRESHOLDS}
ZERO = {**OFF, "isGuardrailEnabled": True}
SYNC = "sync bot"


def guarded(**thresholds: Any) -> dict[str, Any]:
    """Enabled guardrails with these fields, hatred blocked unless they say otherwise."""
    return {**ZERO, "hateThreshold": 1, **thresholds}


def make_guarded(client: APIClient, emulator: Emulator, bot_id: str = "b", **thresholds: Any) -> dict[str, Any]:
    """Makes a bot and its guardrail. Returns the guardrail, as the emulator has it."""
    make(client, bot_id, bedrockGuardrails=guarded(**thresholds))
    finish()
    return next(guardrail for guardrail in there(emulator) if guardrail["tags"]["bedrock-chat-bot"] == bot_id)


def change(client: APIClient, bot_id: str = "b", **thresholds: Any) -> None:
    response = edit(client, bot_id, bedrockGuardrails=guarded(**thresholds))
    assert response.status_code == 200, response.content


def there(emulator: Emulator) -> list[dict[str, Any]]:
    """What the emulator has of guardrails."""
    guardrails: list[dict[str, Any]] = emulator.control("GET", "guardrails")
    return guardrails


def plan(emulator: Emulator, **fields: Any) -> None:
    """How guardrails fare from now on: `seconds`, `fails`, `versions`, `troubles`; `pass` lets time pass."""
    emulator.control("POST", "guardrails", fields)


def trouble(operation: str, **fields: Any) -> dict[str, Any]:
    return {"operation": operation, **fields}


# ---- The job --------------------------------------------------------------------------------------------------------


def claim(kind: str = SYNC) -> Claimed | None:
    """Claims the job of that kind now, however long it would wait, or however long its lost worker has its lease."""
    Job.objects.filter(kind=kind).update(due_at=database_now() - timedelta(seconds=1))
    return next(iter(queue.claim("worker", 1)), None)


def run(job: Claimed) -> None:
    """Does a job as a worker does."""
    queue.handler_of(job.kind)(job)
    if not job.finished:
        with transaction.atomic():
            job.finish()


def work(kind: str = SYNC) -> bool:
    """Does the next job of that kind, if there is one."""
    job = claim(kind)
    if job is not None:
        run(job)
    return job is not None


def finish(most: int = 12) -> None:
    """Works until the job waits for nothing but the end of what turns may use, or there is none."""
    for _ in range(most):
        waiting = Job.objects.filter(kind=SYNC).exclude(state=State.DEAD).first()
        far = database_now() + timedelta(minutes=5)
        eventually(lambda: not GUARDRAILS.is_away)  # it was asked in vain, and a thread asks it again
        if waiting is None or waiting.due_at > far or not work():
            return


def sweep() -> None:
    """Does the hourly job, and what it asks for."""
    queue.enqueue("sweep guardrails", key="every:sweep guardrails")
    work("sweep guardrails")
    Job.objects.filter(kind="sweep guardrails").delete()
    finish()


def status(client: APIClient, bot_id: str = "b") -> tuple[str, str]:
    bot = read(client, bot_id)
    return bot["syncStatus"], bot["syncStatusReason"]


def used(client: APIClient, emulator: Emulator, bot_id: str = "b") -> dict[str, Any]:
    """The guardrail that a turn is sent with."""
    number = len(emulator.requests())
    assert say(client, f"c{number}", "hello", bot_id=bot_id).status_code == 200
    config: dict[str, Any] = emulator.requests()[-1]["body"]["guardrailConfig"]
    return config


def operations(emulator: Emulator) -> list[str]:
    return [call["operation"] for call in emulator.requests()]
