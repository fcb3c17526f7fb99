"""What becomes of a bot's guardrail when Bedrock refuses, an answer is lost or a worker dies."""

import pytest
from rest_framework.test import APIClient

from bedrock_chat.jobs.models import Job
from bots import guardrails
from bots.models import Bot, BotGuardrail
from tests.bots.bot import edit, make
from tests.bots.guarding import (
    OFF,
    change,
    claim,
    finish,
    guarded,
    make_guarded,
    operations,
    plan,
    status,
    sweep,
    there,
    trouble,
    used,
    work,
)
from tests.conversations.chat import say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("emulator")]


# ---- Failing --------------------------------------------------------------------------------------------------------


def test_one_that_bedrock_cannot_make_is_told_and_the_next_edit_tries_anew(
    alice: APIClient, emulator: Emulator
) -> None:
    plan(emulator, fails="The moon is full.")
    make(alice, "b", bedrockGuardrails=guarded())
    finish()
    assert status(alice) == ("FAILED", "Bedrock could not make its guardrail: The moon is full.")
    refused = say(alice, "c", "hello", bot_id="b")
    assert (refused.status_code, "Retry-After" in refused.headers) == (409, False)
    assert there(emulator) == []
    plan(emulator)
    change(alice, hateThreshold=2)
    finish()
    assert status(alice) == ("SUCCEEDED", "")
    assert len(there(emulator)) == 1


def test_one_that_bedrock_cannot_change_stays_in_use(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    plan(emulator, fails="The moon is full.")
    change(alice, hateThreshold=3)
    finish()
    assert status(alice)[0] == "FAILED"
    assert used(alice, emulator)["guardrailVersion"] == "1"
    plan(emulator)
    sweep()
    assert status(alice) == ("SUCCEEDED", "")
    assert used(alice, emulator)["guardrailVersion"] == "2"


@pytest.mark.parametrize("operation", ["CreateGuardrail", "GetGuardrail", "CreateGuardrailVersion"])
def test_what_passes_by_itself_is_tried_again(alice: APIClient, emulator: Emulator, operation: str) -> None:
    codes = ("ThrottlingException", "InternalServerException", "ConflictException")
    plan(emulator, troubles=[trouble(operation, fault=code) for code in codes])
    make(alice, "b", bedrockGuardrails=guarded())
    finish()
    assert operations(emulator).count(operation) > len(codes)
    assert status(alice) == ("SUCCEEDED", "")
    assert [guardrail["versions"] for guardrail in there(emulator)] == [["1"]]


def test_pauses_between_tries_grow(alice: APIClient, emulator: Emulator) -> None:
    plan(emulator, troubles=[trouble("CreateGuardrail", fault="ThrottlingException", times=4)])
    make(alice, "b", bedrockGuardrails=guarded())
    looks = []
    for _ in range(4):
        work()
        looks.append(Job.objects.get().payload["looks"])
    assert looks == [1, 2, 3, 4]
    assert status(alice)[1].endswith("it is tried again.")


def test_a_role_that_may_not_make_guardrails_is_told_and_tried_by_the_sweep(
    alice: APIClient, emulator: Emulator
) -> None:
    plan(emulator, troubles=[trouble("CreateGuardrail", fault="AccessDeniedException")])
    make(alice, "b", bedrockGuardrails=guarded())
    finish()
    assert status(alice) == ("FAILED", "This server may not make guardrails. Tell your administrator.")
    sweep()
    assert status(alice) == ("SUCCEEDED", "")


def test_a_version_that_bedrock_could_not_make_is_made_by_the_sweep(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", bedrockGuardrails=guarded())
    work()
    plan(emulator, fails="The moon is full.")
    finish()
    assert status(alice) == ("FAILED", "Bedrock could not make its guardrail: The moon is full.")
    plan(emulator)
    sweep()
    assert status(alice) == ("SUCCEEDED", "")
    assert used(alice, emulator)["guardrailVersion"] == "2"


def test_one_that_is_used_again_counts_as_used_although_its_change_failed(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    edit(alice, "b", bedrockGuardrails=OFF)
    work()
    assert BotGuardrail.objects.get().unused_since is not None
    plan(emulator, fails="The moon is full.")
    change(alice, hateThreshold=3)
    finish()
    assert status(alice)[0] == "FAILED"
    assert used(alice, emulator)["guardrailVersion"] == "1"
    assert BotGuardrail.objects.get().unused_since is None


def test_one_that_was_made_unseen_and_could_not_be_found_is_deleted_by_the_sweep(
    alice: APIClient, emulator: Emulator, deleted_at_once: None
) -> None:
    make(alice, "b", bedrockGuardrails=guarded())
    die()
    edit(alice, "b", bedrockGuardrails=OFF)
    plan(emulator, troubles=[trouble("ListGuardrails", fault="AccessDeniedException")])
    finish()
    assert len(there(emulator)) == 1
    sweep()
    assert there(emulator) == []


# ---- Workers that die -----------------------------------------------------------------------------------------------


def die() -> None:
    """A worker takes the next step, and dies before it has written what came of it."""
    job = claim()
    assert job is not None
    bot_id = job.payload["bot"]
    guardrails.next_step(bot_id, Bot.objects.filter(pk=bot_id).first(), job)


@pytest.mark.parametrize("steps", range(3))
def test_a_worker_that_dies_while_one_is_made_leaves_one(alice: APIClient, emulator: Emulator, steps: int) -> None:
    make(alice, "b", bedrockGuardrails=guarded())
    for _ in range(steps):
        work()
    for _ in range(3):
        die()
    finish()
    assert [guardrail["versions"] for guardrail in there(emulator)] == [["1"]]
    assert status(alice) == ("SUCCEEDED", "")


@pytest.mark.parametrize("steps", range(3))
def test_a_worker_that_dies_while_one_is_changed_leaves_one(
    alice: APIClient, emulator: Emulator, steps: int, deleted_at_once: None
) -> None:
    make_guarded(alice, emulator)
    change(alice, hateThreshold=3)
    for _ in range(steps):
        work()
    die()
    finish()
    assert [(guardrail["versions"], guardrail["filters"]) for guardrail in there(emulator)] == [
        (["2"], {"HATE": "HIGH"})
    ]


@pytest.mark.both
@pytest.mark.parametrize("steps", range(2))
def test_a_worker_that_dies_while_one_is_deleted_leaves_none(
    alice: APIClient, emulator: Emulator, steps: int, deleted_at_once: None
) -> None:
    make_guarded(alice, emulator)
    assert alice.delete("/bot/b").status_code == 200
    for _ in range(steps):
        work()
    die()
    finish()
    assert there(emulator) == []
    assert not BotGuardrail.objects.exists()


@pytest.mark.parametrize("operation", ["CreateGuardrail", "CreateGuardrailVersion", "UpdateGuardrail"])
def test_an_answer_of_bedrock_that_is_lost_makes_no_second_one(
    alice: APIClient, emulator: Emulator, operation: str, deleted_at_once: None
) -> None:
    plan(emulator, troubles=[trouble(operation, cut=True)])
    make(alice, "b", bedrockGuardrails=guarded())
    finish()
    change(alice, hateThreshold=2)
    finish()
    assert [(guardrail["versions"], guardrail["filters"]) for guardrail in there(emulator)] == [
        (["2"], {"HATE": "MEDIUM"})
    ]


@pytest.mark.both
def test_a_bot_that_is_deleted_while_its_guardrail_is_made_leaves_none(
    alice: APIClient, emulator: Emulator, deleted_at_once: None
) -> None:
    make(alice, "b", bedrockGuardrails=guarded())
    die()
    assert alice.delete("/bot/b").status_code == 200
    finish()
    assert there(emulator) == []
    assert not BotGuardrail.objects.exists()
