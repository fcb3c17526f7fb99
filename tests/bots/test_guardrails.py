"""A bot's own guardrail: made by its thresholds, used by turns, changed with them, and deleted with the bot."""

import threading
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.jobs.models import Job
from bots import exporting, guardrails, syncing
from bots.models import Bot, BotGuardrail
from tests.bots.bot import body, edit, make, read
from tests.bots.guarding import (
    OFF,
    ZERO,
    change,
    claim,
    finish,
    guarded,
    make_guarded,
    operations,
    plan,
    run,
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


# ---- Making ---------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_thresholds_make_a_guardrail_and_turns_are_under_it(alice: APIClient, emulator: Emulator) -> None:
    made = make(alice, "b", bedrockGuardrails=guarded(hateThreshold=1, violenceThreshold=3))
    assert (made["syncStatus"], made["bedrockGuardrails"]["guardrailArn"]) == ("QUEUED", "")
    finish()
    [guardrail] = there(emulator)
    assert guardrail["filters"] == {"HATE": "LOW", "VIOLENCE": "HIGH"}
    assert guardrail["tags"] == {"bedrock-chat-bot": "b", "bedrock-chat-deployment": "http://localhost:8000"}
    assert status(alice) == ("SUCCEEDED", "")
    shown = read(alice, "b")["bedrockGuardrails"]
    assert (shown["guardrailArn"], shown["guardrailVersion"]) == (guardrail["arn"], "1")
    config = used(alice, emulator)
    assert config == {"guardrailIdentifier": guardrail["arn"], "guardrailVersion": "1", "trace": "enabled"}


def test_a_bot_without_a_guardrail_yet_answers_nobody_and_no_worker_waits_for_bedrock(
    alice: APIClient, emulator: Emulator
) -> None:
    plan(emulator, seconds=60)
    make(alice, "b", bedrockGuardrails=guarded())
    for _ in range(3):
        begun = time.monotonic()
        work()
        assert time.monotonic() - begun < 20
        refused = say(alice, "c", "hello", bot_id="b")
        assert (refused.status_code, refused.headers["Retry-After"]) == (409, "10")
    assert status(alice) == ("QUEUED", "Its guardrail is being made.")
    plan(emulator, seconds=60, **{"pass": 61})
    work()  # makes the version, which takes as long
    assert say(alice, "c", "hello", bot_id="b").status_code == 409
    assert BotGuardrail.objects.get().version == ""
    plan(emulator, **{"pass": 61})
    finish()
    assert status(alice) == ("SUCCEEDED", "")
    assert used(alice, emulator)["guardrailVersion"] == "1"
    assert operations(emulator).count("CreateGuardrail") == operations(emulator).count("CreateGuardrailVersion") == 1


def test_without_any_threshold_there_is_none_and_who_chats_is_told(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "zero", bedrockGuardrails=ZERO)
    make(alice, "off", bedrockGuardrails={**OFF, "hateThreshold": 3})
    finish()
    assert there(emulator) == []
    for bot_id, word in (("zero", "not guarded"), ("off", "")):
        warnings = body(say(alice, bot_id, "hello", bot_id=bot_id))["warnings"]
        assert [word in sentence for sentence in warnings] == ([True] if word else [])
        assert "guardrailConfig" not in emulator.requests()[-1]["body"]
        assert status(alice, bot_id) == ("SUCCEEDED", "")


def test_thresholds_of_grounding_are_the_guardrails_alone_or_beside_others(
    alice: APIClient, emulator: Emulator
) -> None:
    make(alice, "alone", bedrockGuardrails={**ZERO, "groundingThreshold": 0.5, "relevanceThreshold": 0.99})
    make_guarded(alice, emulator, groundingThreshold=0.7)
    finish()
    by_bot = {guardrail["tags"]["bedrock-chat-bot"]: guardrail["filters"] for guardrail in there(emulator)}
    alone, beside = by_bot["alone"], by_bot["b"]
    assert alone == {"GROUNDING": 0.5, "RELEVANCE": 0.99}
    assert (len(beside) > 1, beside["GROUNDING"]) == (True, 0.7)
    for bot_id in ("alone", "b"):
        answer = body(say(alice, bot_id, "hello", bot_id=bot_id))
        assert answer["warnings"] == []
        request = emulator.requests()[-1]["body"]
        assert request["guardrailConfig"]["guardrailVersion"] == "1"
        assert "guardContent" not in str(request)  # these bots know nothing: there is nothing to hold answers against
    made = operations(emulator).count("CreateGuardrail")
    edit(alice, "alone", bedrockGuardrails={**ZERO, "groundingThreshold": 0.6})
    finish()
    assert {"GROUNDING": 0.6} in [guardrail["filters"] for guardrail in there(emulator)]
    assert operations(emulator).count("CreateGuardrail") == made


def test_thresholds_of_grounding_from_before_get_their_guardrail(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", bedrockGuardrails={**ZERO, "groundingThreshold": 0.5})
    make(alice, "plain", bedrockGuardrails=guarded())
    Job.objects.all().delete()
    Bot.objects.update(sync_status="SUCCEEDED", sync_status_reason="")  # as the server before has left them
    import_module("bots.migrations.0007_knowledge").make_guardrails(apps, None)
    assert list(Job.objects.values_list("kind", "payload")) == [("sync bot", {"bot": "b"})]
    assert status(alice)[0] == "QUEUED"
    finish()
    assert [guardrail["filters"] for guardrail in there(emulator)] == [{"GROUNDING": 0.5}]


# ---- Changing -------------------------------------------------------------------------------------------------------


def test_while_a_changed_one_is_made_the_bot_runs_under_the_one_before(alice: APIClient, emulator: Emulator) -> None:
    before = make_guarded(alice, emulator)
    plan(emulator, seconds=60)
    change(alice, hateThreshold=3)
    finish()
    assert status(alice)[0] == "QUEUED"
    assert used(alice, emulator)["guardrailVersion"] == "1"
    for _ in range(2):
        plan(emulator, **{"pass": 61})
        finish()
    [guardrail] = there(emulator)
    assert (guardrail["arn"], guardrail["filters"]) == (before["arn"], {"HATE": "HIGH"})
    assert used(alice, emulator)["guardrailVersion"] == "2"
    assert status(alice) == ("SUCCEEDED", "")


def test_what_was_replaced_is_kept_for_turns_that_run_and_then_deleted(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_guarded(alice, emulator)
    change(alice, hateThreshold=2)
    finish()
    work()  # too early
    assert there(emulator)[0]["versions"] == ["1", "2"]
    monkeypatch.setattr(guardrails, "KEPT_SECONDS", 0.0)
    work()
    assert there(emulator)[0]["versions"] == ["2"]
    assert not Job.objects.exists()


def test_an_edit_of_anything_else_changes_no_guardrail(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    emulator.clear_requests()
    edit(alice, "b", title="Another title")
    finish()
    assert operations(emulator) == []


def test_what_the_owner_has_read_may_be_sent_back(alice: APIClient, emulator: Emulator) -> None:
    guardrail = make_guarded(alice, emulator)
    echoed = read(alice, "b")["bedrockGuardrails"]
    assert body(edit(alice, "b", bedrockGuardrails=echoed))["version"] == 1
    changed = body(edit(alice, "b", bedrockGuardrails={**echoed, "hateThreshold": 2}))
    assert changed["bedrockGuardrails"]["guardrailArn"] == guardrail["arn"]
    finish()
    assert there(emulator)[0]["filters"] == {"HATE": "MEDIUM"}
    assert Bot.objects.get().configuration["bedrock_guardrails"]["guardrail_arn"] == ""


def test_a_form_that_was_open_for_long_brings_no_former_guardrail_back(
    alice: APIClient, emulator: Emulator, deleted_at_once: None
) -> None:
    make_guarded(alice, emulator)
    echoed = read(alice, "b")["bedrockGuardrails"]
    edit(alice, "b", bedrockGuardrails={**echoed, "isGuardrailEnabled": False})
    finish()
    assert there(emulator) == []
    edit(alice, "b", bedrockGuardrails=echoed)
    finish()
    [guardrail] = there(emulator)
    assert guardrail["arn"] != echoed["guardrailArn"]
    assert used(alice, emulator)["guardrailIdentifier"] == guardrail["arn"]


def test_a_restored_version_has_its_thresholds_back(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    change(alice, hateThreshold=3)
    finish()
    body(alice.post("/bot/b/versions/1/restore"))
    finish()
    [guardrail] = there(emulator)
    assert (guardrail["filters"], guardrail["versions"]) == ({"HATE": "LOW"}, ["1", "2", "3"])
    assert used(alice, emulator)["guardrailVersion"] == "3"


@pytest.mark.both
def test_two_edits_at_once_end_with_the_later_ones_thresholds(alice: APIClient, emulator: Emulator) -> None:
    make(alice, "b", bedrockGuardrails=guarded())
    plan(emulator, troubles=[trouble("CreateGuardrail", wait=1.0)])
    job = claim()
    assert job is not None

    def in_a_worker() -> None:
        run(job)
        connection.close()

    worker = threading.Thread(target=in_a_worker)
    worker.start()
    while "CreateGuardrail" not in operations(emulator):
        time.sleep(0.01)
    change(alice, hateThreshold=2)
    change(alice, hateThreshold=3)
    worker.join()
    finish()
    [guardrail] = there(emulator)
    assert (guardrail["filters"], status(alice)) == ({"HATE": "HIGH"}, ("SUCCEEDED", ""))
    assert BotGuardrail.objects.get().filters == {"HATE": "HIGH"}


def test_bedrock_keeps_few_versions(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    plan(emulator, versions=2)
    for threshold in (2, 3, 1, 2):
        change(alice, hateThreshold=threshold)
        finish()
        assert status(alice) == ("SUCCEEDED", "")
    assert there(emulator)[0]["versions"] == ["4", "5"]
    assert used(alice, emulator)["guardrailVersion"] == "5"


# ---- Deleting -------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_guardrail_goes_with_its_bot_when_no_turn_can_use_it_any_more(
    alice: APIClient, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_guarded(alice, emulator)
    assert alice.delete("/bot/b").status_code == 200
    work()
    work()
    assert len(there(emulator)) == 1
    monkeypatch.setattr(guardrails, "KEPT_SECONDS", 0.0)
    work()
    assert there(emulator) == []
    assert not BotGuardrail.objects.exists()
    assert not Job.objects.filter(kind=syncing.KIND).exists()


@pytest.mark.parametrize("wanted", [ZERO, {**OFF, "hateThreshold": 1}, {**ZERO, "guardrailArn": "abc"}])
def test_a_bot_that_needs_none_any_more_has_none(
    alice: APIClient, emulator: Emulator, wanted: dict[str, Any], deleted_at_once: None
) -> None:
    make_guarded(alice, emulator)
    body(edit(alice, "b", bedrockGuardrails=wanted))
    finish()
    assert there(emulator) == []
    assert status(alice) == ("SUCCEEDED", "")


def test_one_that_is_wanted_again_soon_is_used_at_once(alice: APIClient, emulator: Emulator) -> None:
    make_guarded(alice, emulator)
    edit(alice, "b", bedrockGuardrails=OFF)
    work()
    change(alice)
    assert used(alice, emulator)["guardrailVersion"] == "1"
    finish()
    assert BotGuardrail.objects.get().unused_since is None


@pytest.mark.both
def test_the_guardrails_of_somebody_who_is_erased_go_with_their_bots(
    alice: APIClient, emulator: Emulator, deleted_at_once: None
) -> None:
    make_guarded(alice, emulator)
    sub = User.objects.get(username="alice").pk
    sentences = list(erasing.erase(sub, actor=Program.command("erase_user")))
    assert "1 guardrails of theirs are deleted in Bedrock when no turn can use them any more." in sentences
    finish()
    assert there(emulator) == []
    assert not BotGuardrail.objects.exists()


def test_a_persons_export_has_thresholds_and_nothing_of_the_account(
    alice: APIClient, emulator: Emulator, tmp_path: Path
) -> None:
    guardrail = make_guarded(alice, emulator)
    list(exporting.export(User.objects.get(username="alice").pk, tmp_path))
    exported = (tmp_path / "bots.jsonl").read_text()
    assert '"hateThreshold":1' in exported
    assert guardrail["id"] not in exported


# ---- Guardrails of others -------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_guardrail_that_a_client_names_is_used_as_it_is(
    alice: APIClient, emulator: Emulator, deleted_at_once: None
) -> None:
    own = make_guarded(alice, emulator, "own")
    emulator.clear_requests()
    make(alice, "b", bedrockGuardrails=guarded(guardrailArn=own["arn"], guardrailVersion="1"))
    make(alice, "draft", bedrockGuardrails=guarded(guardrailArn=own["id"]))
    finish()
    assert operations(emulator) == []
    assert status(alice) == ("SUCCEEDED", "")
    assert used(alice, emulator)["guardrailVersion"] == "1"
    assert used(alice, emulator, "draft")["guardrailIdentifier"] == own["id"]
    assert used(alice, emulator, "draft")["guardrailVersion"] == "DRAFT"
    for bot_id in ("own", "b"):
        assert alice.delete(f"/bot/{bot_id}").status_code == 200
    finish()
    sweep()
    assert len(there(emulator)) == 1  # the third bot names it
    alice.delete("/bot/draft")
    sweep()
    finish()
    assert there(emulator) == []


@pytest.mark.parametrize(
    ("field", "value"), [("guardrailArn", "arn:aws:s3:::bucket"), ("guardrailArn", "A B"), ("guardrailVersion", "0")]
)
def test_what_cannot_name_a_guardrail_is_refused(alice: APIClient, field: str, value: str) -> None:
    make(alice, "b")
    refused = edit(alice, "b", bedrockGuardrails=guarded(**{field: value}))
    assert refused.status_code == 400
    assert field in refused.json()["errors"][0]
