"""Turns over REST: the request to the model, what is stored, and the response."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from conversations.models import Conversation, Message, Outcome
from tests import build
from tests.conversations.chat import MODEL, ids_by_text, read, say, text_of
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
ClientOf = Callable[..., APIClient]


def user(client: APIClient) -> User:
    """The row of a client's user. The client's first request creates it."""
    client.get("/conversations")
    return User.objects.latest("created_at")


def test_a_question_gets_its_answer_and_both_are_stored(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    response = say(alice, "c1", "hello")
    assert response.status_code == 200
    body = response.json()
    assert body["conversationId"] == "c1"
    assert body["botId"] is None
    assert isinstance(body["createTime"], float)
    assert text_of(body["message"]) == "Echo: hello"
    stored = read(alice, "c1")
    by_text = ids_by_text(stored)
    assert stored["lastMessageId"] == by_text["Echo: hello"]
    assert body["message"]["parent"] == by_text["hello"]
    assert stored["messageMap"]["system"]["children"] == [by_text["hello"]]


def test_the_model_sees_the_branch_and_nothing_else(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "c1", "first")
    say(alice, "c1", "second")
    first_answer = ids_by_text(read(alice, "c1"))["Echo: first"]
    say(alice, "c1", "other branch", parent=first_answer)
    sent = emulator.requests()[-1]["body"]["messages"]
    assert [block["text"] for message in sent for block in message["content"] if "text" in block] == [
        "first",
        "Echo: first",
        "other branch",
    ]


def test_system_edits_the_first_message_and_keeps_the_old_branch(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "c1", "first")
    say(alice, "c1", "first, edited", parent="system")
    stored = read(alice, "c1")
    by_text = ids_by_text(stored)
    assert stored["messageMap"]["system"]["children"] == [by_text["first"], by_text["first, edited"]]
    assert stored["lastMessageId"] == by_text["Echo: first, edited"]


def test_usage_and_price_stand_in_the_ledger(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    say(alice, "c1", "hello", message_id="q1")
    call = ModelCall.objects.get()
    assert (call.conversation_external_id, call.message_external_id, call.model) == ("c1", "q1", MODEL)
    assert call.input_tokens > 0
    assert call.output_tokens > 0
    assert call.price == (call.input_tokens * call.input_price + call.output_tokens * call.output_price) / 1000
    assert call.stop_reason == "end_turn"
    assert not call.estimated


def test_a_failed_turn_keeps_the_question_and_says_which(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    response = say(alice, "c1", "[[denied]]", message_id="q1")
    assert response.status_code == 502
    body = response.json()
    assert (body["conversationId"], body["messageId"]) == ("c1", "q1")
    assert body["errors"] == [body["detail"]]
    stored = read(alice, "c1")
    assert set(stored["messageMap"]) == {"system", "q1"}
    assert stored["lastMessageId"] == "q1"
    assert stored["shouldContinue"] is False
    call = ModelCall.objects.get()
    assert (call.fault, call.price) == ("AccessDeniedException", None)


def test_a_failed_question_is_asked_again_in_its_place(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    emulator.script(fault="AccessDeniedException", times=1)
    assert say(alice, "c1", "hello").status_code == 502
    assert say(alice, "c1", "hello").status_code == 200
    assert set(ids_by_text(read(alice, "c1"))) == {"", "hello", "Echo: hello"}
    assert Message.objects.get(role="user").attempt == 2


def test_the_same_message_id_is_answered_once(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    first = say(alice, "c1", "hello", message_id="q1").json()
    assert say(alice, "c1", "hello", message_id="q1", parent="nonsense").json() == first
    assert len(emulator.requests()) == 1
    assert say(alice, "c1", "something else", message_id="q1").status_code == 409


def test_a_running_question_is_409_with_the_seconds_left(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    build.question(conversation, "hello", external_id="q1", outcome=Outcome.FAILED, lease=timedelta(seconds=9))
    refused = say(alice, "c1", "hello", message_id="q1")
    assert refused.status_code == 409
    assert 1 <= int(refused["Retry-After"]) <= 9
    assert emulator.requests() == []


def test_a_killed_turn_can_be_retried_once_its_lease_is_over(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    build.question(conversation, "hello", external_id="q1", outcome=Outcome.FAILED, lease=timedelta(seconds=-1))
    assert read(alice, "c1")["lastMessageId"] == "q1"
    assert say(alice, "c1", "hello", message_id="q1").status_code == 200
    assert text_of(read(alice, "c1")["messageMap"][read(alice, "c1")["lastMessageId"]]) == "Echo: hello"


def test_an_interrupted_answer_is_kept_and_the_retry_is_its_sibling(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    question = build.question(conversation, "hello", external_id="q1", outcome=Outcome.INTERRUPTED)
    build.answer(question, "Ech", stop_reason="interrupted", external_id="partial")
    shown = read(alice, "c1")["messageMap"]["partial"]
    assert shown["stopReason"] == "interrupted"
    answered = say(alice, "c1", "hello", message_id="q1")
    assert answered.status_code == 200
    assert "stopReason" not in answered.json()["message"]
    stored = read(alice, "c1")
    assert stored["messageMap"]["q1"]["children"] == ["partial", stored["lastMessageId"]]


def test_an_interrupted_answer_is_an_ordinary_parent(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    build.exchange(conversation, "hello", stop_reason="interrupted")
    assert say(alice, "c1", "go on").status_code == 200
    sent = emulator.requests()[-1]["body"]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user"]


def test_an_answer_of_a_running_turn_is_not_in_the_map(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    conversation = build.conversation(user(alice), "c1")
    question = build.question(
        conversation, "hello", external_id="q1", outcome=Outcome.INTERRUPTED, lease=timedelta(seconds=60)
    )
    build.answer(question, "Ech", stop_reason="interrupted", external_id="partial")
    assert set(read(alice, "c1")["messageMap"]) == {"system", "q1"}
    assert say(alice, "c1", "next", parent="partial").status_code == 409


def test_reasoning_is_stored_and_goes_back_unmodified(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    thought = say(alice, "c1", "think", enable_reasoning=True).json()["message"]["content"]
    assert [block["contentType"] for block in thought] == ["reasoning", "text"]
    say(alice, "c1", "more", enable_reasoning=True)
    sent = emulator.requests()[-1]["body"]["messages"][1]["content"]
    text = {"text": thought[0]["text"], "signature": thought[0]["signature"]}
    assert sent[0] == {"reasoningContent": {"reasoningText": text}}


def test_an_empty_answer_is_stored_and_goes_back_as_no_answer(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    assert say(alice, "c1", "[[empty]]").json()["message"]["content"] == []
    assert say(alice, "c1", "well?").status_code == 200
    assert emulator.requests()[-1]["body"]["messages"][1]["content"] == [{"text": "(no answer)"}]


def test_tool_traffic_in_a_question_is_stored_and_never_sent(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    use = {"contentType": "toolUse", "body": {"toolUseId": "t1", "name": "n", "input": {"someKey": 1, "other_key": 2}}}
    alone = say(alice, "c1", [use])
    assert alone.status_code == 400
    assert say(alice, "c1", [use, *build.text("x")]).status_code == 200
    assert "toolUse" not in str(emulator.requests()[-1]["body"])
    stored = read(alice, "c1")
    question = stored["messageMap"][stored["messageMap"]["system"]["children"][0]]
    assert question["content"][0] == use


def test_a_model_that_sees_no_images_refuses_by_name_and_nothing_is_stored(
    client_of: ClientOf, emulator: Emulator, png: str
) -> None:
    alice = client_of("alice")
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    refused = say(alice, "c1", [image, *build.text("what?")], model="amazon-nova-micro")
    assert refused.status_code == 400
    assert "Nova Micro" in refused.json()["detail"]
    assert not Conversation.objects.exists()


def test_where_system_prompts_are_refused_the_user_still_gets_an_answer(
    client_of: ClientOf, emulator: Emulator
) -> None:
    alice = client_of("alice")
    build.conversation(user(alice), "c1", instruction="Answer in verse.")
    assert say(alice, "c1", "hello", model="mistral-7b-instruct").status_code == 200
    sent = emulator.requests()[-1]["body"]
    assert not sent.get("system")
    assert "Answer in verse." in str(sent["messages"][0])


def test_a_bot_is_unknown_until_there_are_bots(client_of: ClientOf, emulator: Emulator) -> None:
    alice = client_of("alice")
    assert say(alice, "c1", "hello", bot_id="bot").status_code == 404
    assert say(alice, "c1", "hello", bot_id="").status_code == 200


def test_only_available_models_are_asked(client_of: ClientOf, emulator: Emulator, settings: object) -> None:
    settings.GLOBAL_AVAILABLE_MODELS = ["amazon-nova-pro"]  # type: ignore[attr-defined]
    alice = client_of("alice")
    assert say(alice, "c1", "hello").status_code == 400
    assert say(alice, "c1", "hello", model="amazon-nova-pro").status_code == 200


def test_the_same_id_is_another_conversation_for_another_owner(client_of: ClientOf, emulator: Emulator) -> None:
    alice, bob = client_of("alice"), client_of("bob")
    say(alice, "c1", "alice's secret")
    assert bob.get("/conversation/c1").status_code == 404
    assert say(bob, "c1", "bob's own").status_code == 200
    assert "alice's secret" not in str(read(bob, "c1"))
    assert "bob's own" not in str(read(alice, "c1"))


def test_images_and_documents_come_back_as_they_were_sent(client_of: ClientOf, emulator: Emulator, png: str) -> None:
    alice = client_of("alice")
    blocks = [
        {"contentType": "image", "mediaType": "image/png", "body": png},
        {"contentType": "attachment", "fileName": "資料.txt", "body": "c29tZSBub3Rlcw=="},
        {"contentType": "text", "body": "what are these?"},
    ]
    assert say(alice, "c1", blocks).status_code == 200
    stored = read(alice, "c1")
    assert stored["messageMap"][stored["messageMap"]["system"]["children"][0]]["content"] == blocks
    assert png not in str(Message.objects.filter(role="user").values_list("content"))
    sent = emulator.requests()[-1]["body"]["messages"][0]["content"]
    assert sent[0]["image"]["source"]["bytes"] == png
    assert sent[1]["document"]["name"] == "document 1"
