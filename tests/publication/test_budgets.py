"""A question to a published API is refused where a budget of its owner, its bot or its key is used up."""

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.budgets import reconciling
from bedrock_chat.ledger.budgets.models import BudgetCounter, PayerKind, Reservation
from bedrock_chat.ledger.models import ModelCall
from publication.models import ApiKey, Gate, TurnRequest
from tests.bots.bot import body
from tests.ledger.budgets.spending import budget
from tests.publication.api import Api, question, work
from tests.publication.openai import chat

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


def payer(kind: PayerKind) -> str:
    match kind:
        case PayerKind.USER:
            return str(User.objects.get(username="dave").pk)
        case PayerKind.GROUP:
            return "PublishAllowed"
        case PayerKind.BOT:
            return "helper"
    return str(ApiKey.objects.get().pk)


@pytest.mark.parametrize("kind", PayerKind)
def test_a_question_is_refused_at_acceptance_as_a_quota_refuses_it(api: Api, kind: PayerKind) -> None:
    budget(payer(kind), "1", kind=kind)
    api.answer(*api.ask())
    assert work() == 1
    assert BudgetCounter.objects.get().used > 1
    used = Gate.objects.order_by("account").values_list("used", flat=True)
    before = list(used)
    refused = api.post(question("again"))
    assert refused.status_code == 429
    assert refused.json() == {"message": "Limit Exceeded", "detail": "Limit Exceeded", "errors": ["Limit Exceeded"]}
    assert refused["x-amzn-ErrorType"] == "LimitExceededException"
    assert int(refused["Retry-After"]) > 0
    assert (TurnRequest.objects.count(), list(used.all())) == (1, before)


def test_a_job_that_finds_no_room_fails_with_the_reason(api: Api) -> None:
    budget("helper", "1", kind=PayerKind.BOT)
    first, second = api.ask("one"), api.ask("two")
    assert work() == 2
    assert body(api.answer(*first))["message"]
    failed = api.answer(*second)
    assert failed.status_code == 409
    assert failed.json()["detail"].startswith("A budget for this API is used up until ")
    assert ModelCall.objects.count() == 1
    assert [one.difference for one in reconciling.compare_all()] == [0]
    assert not Reservation.objects.exists()


def test_a_job_waits_while_others_have_reserved_what_is_left(api: Api) -> None:
    budget("helper", "1000", kind=PayerKind.BOT)
    conversation, message = api.ask()
    BudgetCounter.objects.update(reserved=5000)
    assert work() == 1
    assert api.answer(conversation, message).status_code == 404
    BudgetCounter.objects.update(reserved=0)
    assert not ModelCall.objects.exists()


def test_another_caller_of_the_bot_is_not_bounded_by_the_keys_budget(api: Api, dave: APIClient) -> None:
    budget(payer(PayerKind.KEY), "0", kind=PayerKind.KEY)
    assert api.post(question()).status_code == 429
    message = {
        "conversationId": "c1",
        "botId": "helper",
        "message": {"role": "user", "content": [{"contentType": "text", "body": "hi"}], "model": "claude-v3.7-sonnet"},
    }
    assert dave.post("/conversation", message, format="json").status_code == 200


@pytest.mark.parametrize("kind", PayerKind)
def test_a_chat_completion_counts_and_is_refused_as_openais_quota_refuses_it(api: Api, kind: PayerKind) -> None:
    budget(payer(kind), "1", kind=kind)
    chat.complete(api)
    assert BudgetCounter.objects.get().used > 1
    before = list(Gate.objects.order_by("account").values_list("used", flat=True))
    refused = chat.post(api)
    assert (refused.status_code, chat.error_of(refused)["code"]) == (429, "insufficient_quota")
    assert chat.error_of(refused)["message"] == "Limit Exceeded"
    assert chat.post(api, stream=True).status_code == 429
    assert list(Gate.objects.order_by("account").values_list("used", flat=True)) == before
    assert not any(one.difference for one in reconciling.compare_all())
    assert not Reservation.objects.exists()


def test_a_chat_completion_that_fails_or_streams_is_settled(api: Api) -> None:
    budget("helper", "1000000", kind=PayerKind.BOT)
    chat.stream(api)
    assert chat.post(api, chat.user("[[fault:ModelErrorException:after:3]] [[words:9]]")).status_code == 502
    BudgetCounter.objects.update(reserved=10**7)
    waits = chat.post(api)
    assert (waits.status_code, waits["Retry-After"], chat.error_of(waits)["code"]) == (429, "5", "rate_limit_exceeded")
    BudgetCounter.objects.update(reserved=0)
    assert [one.difference for one in reconciling.compare_all()] == [0]
    assert not Reservation.objects.exists()
    assert ModelCall.objects.count() == 2
