"""The hourly sweep holds the bots' guardrails against those in Bedrock, and touches nobody else's."""

import pytest
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bots import guardrail_sweep, guardrails
from tests.bots.bot import make
from tests.bots.guarding import (
    change,
    finish,
    make_guarded,
    operations,
    plan,
    status,
    sweep,
    there,
    trouble,
    used,
)
from tests.conversations.chat import say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("emulator")]


@pytest.mark.both
def test_the_sweep_deletes_what_was_left_over_and_nothing_of_others(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = make_guarded(alice, emulator)
    filters, ours = {"HATE": "LOW"}, guardrails.tags_of("gone")
    elsewhere = {**ours, "bedrock-chat-deployment": "https://elsewhere"}
    arns = {
        name: guardrails.guardrails.create(f"bedrock-chat-{name}", filters, tags=tags, token=name)
        for name, tags in {"left": ours, "elsewhere": elsewhere, "untagged": {}}.items()
    }
    guardrails.guardrails.create("theirs", filters, tags=ours, token="theirs")
    sweep()
    assert len(there(emulator)) == 5  # the one that is left over may be about to be written down
    monkeypatch.setattr(guardrail_sweep, "ORPHAN_SECONDS", -60.0)
    sweep()
    names = {guardrail["name"] for guardrail in there(emulator)}
    assert names == {kept["name"], "bedrock-chat-elsewhere", "bedrock-chat-untagged", "theirs"}
    entry = AuditEntry.objects.get(verb="remove left-over guardrail")
    assert (entry.target_id, entry.actor_id, entry.values) == (
        "gone",
        "sweep guardrails",
        {"guardrails": [arns["left"]]},
    )


@pytest.mark.both
def test_a_guardrail_deleted_in_aws_is_told_by_its_name_and_made_again_by_the_sweep(
    alice: APIClient, emulator: Emulator
) -> None:
    gone = make_guarded(alice, emulator)
    guardrails.guardrails.delete(gone["arn"])
    failed = say(alice, "c", "hello", bot_id="b")
    assert failed.status_code == 502
    assert f"version 1 of the guardrail {gone['id']}" in failed.json()["detail"]
    sweep()
    [guardrail] = there(emulator)
    assert guardrail["id"] != gone["id"]
    assert used(alice, emulator)["guardrailIdentifier"] == guardrail["arn"]


def test_a_guardrail_deleted_in_aws_is_made_again_by_a_change(alice: APIClient, emulator: Emulator) -> None:
    guardrails.guardrails.delete(make_guarded(alice, emulator)["arn"])
    change(alice, hateThreshold=2)
    finish()
    assert [guardrail["filters"] for guardrail in there(emulator)] == [{"HATE": "MEDIUM"}]
    assert status(alice) == ("SUCCEEDED", "")


def test_where_no_bot_has_a_guardrail_bedrock_is_not_asked(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b")
    sweep()
    assert operations(emulator) == []


def test_without_the_permission_to_list_nothing_is_swept_and_nothing_fails(
    alice: APIClient, emulator: Emulator
) -> None:
    make_guarded(alice, emulator)
    plan(emulator, troubles=[trouble("ListGuardrails", fault="AccessDeniedException")])
    sweep()
    assert len(there(emulator)) == 1
