"""Leases of turns, when the clock was set."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.database.connections import database_now
from conversations.models import Message, Outcome, lease_lives
from conversations.turn import leases, registry
from tests import build
from tests.conversations.chat import read, say
from tests.conversations.test_turns import user
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]


@pytest.mark.parametrize("left", [-3600, -1, 5, 14, 20, 31, 3566])
def test_the_query_for_running_turns_knows_the_same_rule(client_of: ClientOf, left: float) -> None:
    conversation = build.conversation(user(client_of("alice")), "c1")
    question = build.question(conversation, "hello", lease=timedelta(seconds=left))
    now = database_now()
    assert Message.objects.running(now).exists() == lease_lives(question.lease_expires_at, now)


@pytest.mark.parametrize("left", [31, 3566])
def test_a_turn_that_was_killed_before_the_clock_was_set_back_is_retried_at_once(
    client_of: ClientOf, emulator: Emulator, left: float
) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    killed = {"outcome": Outcome.FAILED, "lease": timedelta(seconds=left)}
    build.question(conversation, "hello", external_id="q1", **killed)
    assert say(alice, "c1", "hello", message_id="q1").status_code == 200
    assert read(alice, "c1")["messageMap"]["q1"]["children"] == [read(alice, "c1")["lastMessageId"]]


def test_a_turn_that_runs_on_keeps_its_lease_although_the_clock_was_set_back(client_of: ClientOf) -> None:
    class Running:
        key: tuple[int, int]

    conversation = build.conversation(user(client_of("alice")), "c1")
    question = build.question(conversation, "hello", lease=timedelta(hours=1), holder=leases.HOLDER)
    with pytest.MonkeyPatch.context() as patch:
        running = Running()
        running.key = (question.pk, question.attempt)
        patch.setattr(registry, "all_running", lambda: [running])
        leases.renew()
    question.refresh_from_db()
    assert lease_lives(question.lease_expires_at, timezone.now())
