"""Published turns: accepted at once, answered by a job, told truthfully."""

from typing import Any

import pytest
from django.conf import LazySettings
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from publication.models import TurnRequest
from tests.bots import guarding
from tests.bots.bot import body, edit
from tests.conversations.chat import text_of
from tests.emulator import Emulator
from tests.publication.api import Api, question, work

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]


def test_a_question_is_accepted_at_once_and_answered_later(api: Api) -> None:
    conversation, message = api.ask("hello api")
    waiting = api.answer(conversation, message)
    assert (waiting.status_code, waiting.headers["X-Turn-Status"]) == (404, "pending")
    assert waiting.headers["Retry-After"] == "1"
    assert api.get(f"/conversation/{conversation}").status_code == 404
    assert work() == 1
    answered = api.answer(conversation, message)
    assert (answered.status_code, answered.headers["X-Turn-Status"]) == (200, "done")
    answer = answered.json()
    assert text_of(answer["message"]) == "Echo: hello api"
    assert (answer["conversationId"], answer["message"]["parent"]) == (conversation, message)
    shown = body(api.get(f"/conversation/{conversation}"))
    assert (shown["botId"], shown["botAvailable"], len(shown["messageMap"])) == ("helper", True, 3)


def test_turns_of_a_conversation_run_in_the_order_accepted(api: Api) -> None:
    conversation, _ = api.ask("one")
    for text in ("two", "three"):
        api.ask(text, conversationId=conversation)
    assert [work() for _ in range(4)] == [1, 1, 1, 0]
    shown = body(api.get(f"/conversation/{conversation}"))["messageMap"]
    path, node = [], "system"
    while shown[node]["children"]:
        [node] = shown[node]["children"]
        path.append(text_of(shown[node]))
    assert path == ["one", "Echo: one", "two", "Echo: two", "three", "Echo: three"]


def test_a_turn_that_failed_says_why(api: Api) -> None:
    conversation, message = api.ask("[[validation]]")
    work()
    failed = api.answer(conversation, message)
    assert (failed.status_code, failed.headers["X-Turn-Status"]) == (409, "failed")
    assert "Bedrock" in failed.json()["detail"] or failed.json()["detail"]


def test_an_answer_that_was_cut_short_is_continued_and_a_refusal_hides_no_other(api: Api) -> None:
    conversation, cut = api.ask("[[max_tokens]]")
    work()
    assert body(api.post(question(conversationId=conversation, continueGenerate=True)))["messageId"] == cut
    work()
    assert text_of(body(api.answer(conversation, cut))["message"]).startswith("This answer stops ...")
    _, whole = api.ask("a whole answer", conversationId=conversation)
    work()
    refused = api.post(question(conversationId=conversation, continueGenerate=True))
    assert (refused.status_code, "complete" in refused.json()["detail"]) == (400, True)
    assert text_of(body(api.answer(conversation, whole))["message"]) == "Echo: a whole answer"
    _, failed = api.ask("[[validation]]", conversationId=conversation)
    work()
    assert api.answer(conversation, failed).status_code == 409
    assert api.post(question(conversationId=conversation, continueGenerate=True)).status_code == 400
    assert TurnRequest.objects.filter(continue_generate=True).count() == 1


def test_the_owner_pays_and_the_label_is_kept(api: Api, dave: APIClient) -> None:
    api.ask("hello", userLabel="customer 4711")
    work()
    call = ModelCall.objects.get()
    assert (call.user_id, call.user_label, call.bot_id) == (None, "customer 4711", "helper")
    assert call.payer_id == body(dave.get("/bot/private/helper"))["ownerUserId"]
    assert call.groups == User.objects.get(pk=call.payer_id).token_groups == ["CreatingBotAllowed", "PublishAllowed"]


def test_a_pinned_version_answers_as_it_was(api: Api, dave: APIClient, emulator: Emulator) -> None:
    edit(dave, "helper", instruction="You are new.")
    for version, instruction in ((None, "You are new."), (1, "You are helper.")):
        body(dave.patch("/bot/helper/publication", {"botVersion": version}, format="json"))
        api.ask()
        work()
        assert emulator.requests()[-1]["body"]["system"][0] == {"text": instruction}


def test_a_pinned_version_is_kept_however_often_the_bot_is_edited(
    api: Api, dave: APIClient, emulator: Emulator, settings: LazySettings
) -> None:
    settings.BOT_VERSIONS = 2
    body(dave.patch("/bot/helper/publication", {"botVersion": 1}, format="json"))
    for number in range(4):
        edit(dave, "helper", instruction=f"You are new {number}.")
    assert api.post(question()).status_code == 200
    work()
    assert emulator.requests()[-1]["body"]["system"][0] == {"text": "You are helper."}
    assert [row["version"] for row in body(dave.get("/bot/helper/versions"))] == [5, 4, 1]
    body(dave.patch("/bot/helper/publication", {"botVersion": None}, format="json"))
    edit(dave, "helper", instruction="You are free.")
    assert [row["version"] for row in body(dave.get("/bot/helper/versions"))] == [6, 5], "nobody needs it any more"


def test_a_pinned_version_with_other_thresholds_than_todays_is_refused_and_blocks_no_conversation(
    api: Api, dave: APIClient
) -> None:
    guarding.change(dave, "helper", violenceThreshold=1)
    guarding.finish()
    body(dave.patch("/bot/helper/publication", {"botVersion": 2}, format="json"))
    conversation, message = api.ask()
    guarding.change(dave, "helper", violenceThreshold=2)
    guarding.finish()
    refused = api.post(question(conversationId=conversation))
    assert (refused.status_code, refused.headers.get("Retry-After")) == (409, None)
    work()
    failed = api.answer(conversation, message)
    assert (failed.status_code, failed.headers["X-Turn-Status"]) == (409, "failed")
    assert "other thresholds" in failed.json()["detail"]


def test_an_api_that_is_withdrawn_is_gone_with_its_keys_and_waiting_turns(api: Api, dave: APIClient) -> None:
    api.ask()
    assert body(dave.delete("/bot/helper/publication")) is None
    assert api.post(question()).status_code == 403
    assert work() == 0
    assert TurnRequest.objects.get().reason == "This API was withdrawn."


@pytest.mark.parametrize("wrong", ["", "nope", "x" * 40])
def test_a_wrong_key_is_refused_as_api_gateway_does(api: Api, wrong: str) -> None:
    refused = api.get("/health", key=wrong)
    assert refused.status_code == 403
    assert refused.headers["x-amzn-ErrorType"] == "ForbiddenException"
    assert refused.json() == {"message": "Forbidden", "detail": "Forbidden", "errors": ["Forbidden"]}


def test_images_are_answered_too(api: Api, png: str) -> None:
    sent: dict[str, Any] = question()
    sent["message"]["content"].insert(0, {"contentType": "image", "mediaType": "image/png", "body": png})
    accepted = body(api.post(sent))
    work()
    answered = api.answer(accepted["conversationId"], accepted["messageId"])
    assert text_of(answered.json()["message"]) == "I see an image."
