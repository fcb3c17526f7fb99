"""What operators are told of: dead jobs, no worker, throttles, keys near their end, syncs that failed."""

from datetime import timedelta
from typing import Any

import pytest
from django.conf import LazySettings
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.alerts import conditions, of_jobs
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.ledger import throttling
from bedrock_chat.ledger.models import ModelCall
from bots import alerting as bots_alerting
from bots.models import Bot, SyncStatus
from publication import alerting as keys_alerting
from publication.models import ApiKey
from tests.bots.bot import make, share
from tests.encryption.vault import new_key
from tests.ledger.calls import call
from tests.publication.api import publish

pytestmark = pytest.mark.django_db


def sentences(problems: Any) -> list[str]:
    return [problem.sentence for problem in problems]


def test_dead_jobs_are_one_problem_for_each_kind_that_this_version_knows() -> None:
    now = timezone.now()
    for kind in ("sync bot", "sync bot", "erase person", "of another version"):
        Job.objects.create(kind=kind, state=State.DEAD, reason="It failed.", due_at=now, created_at=now)
    [syncs, erasure] = of_jobs.dead()
    assert (syncs.sentence, erasure.sentence) == (
        "2 jobs were given up: sync bot.",
        "1 job was given up: erase person.",
    )
    assert syncs.link == "/console/bedrock_chat/job/?state__exact=dead&kind=sync+bot"


def test_that_no_worker_is_there_is_told_until_one_is() -> None:
    assert sentences(of_jobs.no_worker()) == ["No worker was seen lately, so no job is done."]
    now = timezone.now()
    Worker.objects.create(id="w", host="h", process=1, concurrency=1, started_at=now, seen_at=now)
    assert sentences(of_jobs.no_worker()) == []


def test_throttles_are_told_from_a_rate_on_of_the_last_quarter_hour_for_each_model(settings: LazySettings) -> None:
    now = timezone.now()

    def calls(model: str, number: int, fault: str = "", at: Any = now) -> None:
        ModelCall.objects.bulk_create([call(at, model=model, fault=fault) for _ in range(number)])

    calls("amazon-nova-pro", 18)
    calls("amazon-nova-pro", 2, "ThrottlingException")
    calls("claude-v4.5-sonnet", 19, "ThrottlingException")  # too few to say
    calls("claude-v4.5-haiku", 30, "ThrottlingException", now - timedelta(minutes=20))
    assert sentences(throttling.problems()) == ["Bedrock throttled 10 % of the last 20 calls to amazon-nova-pro."]
    settings.ALERT_THROTTLE_PERCENT = 11
    assert sentences(throttling.problems()) == []


def test_keys_that_end_soon_are_told_unless_another_is_in_their_place(
    client_of: Any, settings: LazySettings, emulator: Any
) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    settings.REPORT_TIME_ZONE = "Asia/Tokyo"
    dave: APIClient = client_of("dave", "CreatingBotAllowed", "PublishAllowed")
    make(dave, "helper")
    share(dave, "helper", "all")
    publish(dave, "helper")
    keys = ApiKey.objects.all()
    [key] = keys
    assert list(keys_alerting.problems()) == []
    keys.update(expires_at=timezone.now() + timedelta(days=13))
    [problem] = keys_alerting.problems()
    assert problem.facts["key"] == key.pk
    assert problem.link == f"/console/publication/apikey/{key.pk}/change/"
    assert problem.sentence.endswith(" JST.")
    for columns in ({"replaced_by": "x"}, {"is_enabled": False}, {"expires_at": timezone.now() - timedelta(days=1)}):
        keys.update(**{"replaced_by": "", "is_enabled": True, **columns})
        assert list(keys_alerting.problems()) == []


def test_a_failed_sync_is_told_by_the_bots_id_alone(client_of: Any) -> None:
    make(client_of("alice", "CreatingBotAllowed"), "b1", title="Secret plans")
    Bot.objects.update(sync_status=SyncStatus.FAILED, sync_status_reason="Secret reason")
    [problem] = bots_alerting.problems()
    assert "b1" in problem.sentence
    assert "Secret" not in f"{problem}"


def test_every_condition_costs_three_statements_at_most_with_the_clock(django_assert_max_num_queries: Any) -> None:
    names = {condition.name for condition in conditions.registered()}
    assert names >= {"budgets", "dead jobs", "failed syncs", "keys", "no worker", "throttles"}
    for condition in conditions.registered():
        with django_assert_max_num_queries(3):
            conditions.problems(condition)
