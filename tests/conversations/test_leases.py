"""Leases of turns, when the clock was set."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.identity.caller import Caller
from conversations.models import Message, Outcome, lease_length
from conversations.search import indexing
from conversations.streaming import remote
from conversations.turn import leases, registry
from tests import build
from tests.conversations.chat import say
from tests.conversations.test_turns import user
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]


HOUR = timedelta(hours=1)


def left(question: Message) -> float:
    """Seconds of the question's lease, in lengths of a lease."""
    question.refresh_from_db()
    assert question.lease_expires_at is not None
    return (question.lease_expires_at - timezone.now()) / lease_length()


@pytest.mark.parametrize("continues", [False, True])
def test_a_turn_that_was_killed_before_the_clock_was_set_back_is_over_with_the_length_of_its_lease(
    client_of: ClientOf, emulator: Emulator, settings: Any, continues: bool
) -> None:
    settings.TURN_LEASE_SECONDS = 1
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    question = build.question(conversation, "hello", external_id="q1", outcome=Outcome.FAILED)
    answer = build.answer(question, "so far", stop_reason="max_tokens", external_id="a1")
    columns = {"continues": answer.pk} if continues else {}
    lease = {"lease_holder": "killed", "lease_expires_at": timezone.now() + HOUR}
    Message.objects.filter(pk=question.pk).update(**lease, **columns)

    def ask() -> Any:
        if continues:
            return say(alice, "c1", "", parent="a1", continue_generate=True)
        return say(alice, "c1", "hello", message_id="q1")

    refused = ask()
    assert (refused.status_code, refused["Retry-After"]) == (409, "1")
    assert left(question) <= 1
    time.sleep(1)
    assert ask().status_code == 200


def test_who_listens_to_a_turn_that_was_killed_before_the_clock_was_set_back_hears_its_end(
    client_of: ClientOf, settings: Any
) -> None:
    settings.TURN_LEASE_SECONDS = 1
    alice = user(client_of("alice"))
    question = build.question(build.conversation(alice, "c1"), "hello", lease=HOUR, outcome=Outcome.FAILED)

    async def listen() -> list[str]:
        async with asyncio.timeout(20):
            read_end = partial(remote.end_if_over, Caller(user_id=alice.pk), question)
            batches = remote.follow(question, 0, read_end)
            return [type(event).__name__ async for _, batch in batches for event in batch]

    assert asyncio.run(listen()) == ["Waiting", "MessageStart", "Failed"]


def test_what_waits_for_no_client_shortens_leases_too(client_of: ClientOf) -> None:
    alice = user(client_of("alice"))
    running = build.question(build.conversation(alice, "c1"), "hello", lease=HOUR)
    fresh = build.question(build.conversation(alice, "c2"), "hello", lease=lease_length() / 2)
    indexing.index_new(None)  # type: ignore[arg-type]  # no claim
    assert 0.9 < left(running) <= 1
    assert left(fresh) <= 0.5


def test_a_turn_that_runs_loses_nothing_by_it(client_of: ClientOf, monkeypatch: pytest.MonkeyPatch) -> None:
    class Running:
        key: tuple[int, int]

    conversation = build.conversation(user(client_of("alice")), "c1")
    question = build.question(conversation, "hello", lease=HOUR, holder=leases.HOLDER)
    running = Running()
    running.key = (question.pk, question.attempt)
    monkeypatch.setattr(registry, "all_running", lambda: [running])
    leases.shorten()
    time.sleep(0.2)
    before = left(question)
    leases.renew()
    assert before < left(question) <= 1
