"""Published bots run their tools: by jobs, whose second attempts go on from the rounds, and for OpenAI's clients."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.bedrock import agents
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Caller, Program
from bedrock_chat.identity.models import User
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.models import ModelCall, ToolCall
from bots import ownership
from bots.tools.tool import Context, Result
from conversations.models import Conversation, Message, Role
from conversations.turn import rounds
from publication.models import Publication
from tests.bots.bot import body, make, share
from tests.bots.test_parts import BASE
from tests.conversations.rounds.tooling import PLAIN, Recorder, answer_of, calls, in_rounds, offering, tool
from tests.emulator import Emulator
from tests.ledger.budgets.spending import budget
from tests.publication.api import Api, limits, publish, work
from tests.publication.openai.chat import complete, error_of, post, said, stream, user
from tests.traces import anything_of

pytestmark = [pytest.mark.django_db(transaction=True)]
DONE = "The tool said something useful."
LOOK = "Let me look that up."
TWO = in_rounds(calls(("search", {"query": "one"})), calls(("search", {"query": "two"})))


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    offering(monkeypatch, tool(run=recorder, read_only=False))
    return recorder


@pytest.fixture
def api(dave: APIClient, emulator: Any, recorder: Recorder) -> Api:
    make(dave, "helper", agent={"tools": [PLAIN]})
    share(dave, "helper", "all")
    return publish(dave, "helper")


@pytest.mark.both
def test_a_job_runs_the_tools_of_its_turn(api: Api, recorder: Recorder) -> None:
    conversation, message = api.ask(TWO)
    work()
    answer = body(api.get(f"/conversation/{conversation}/{message}"))
    assert [block["body"] for block in answer["message"]["content"]] == [DONE]
    assert len(answer["message"]["thinkingLog"]) == 4
    assert [value["query"] for value in recorder.inputs] == ["one", "two"]
    row = ToolCall.objects.first()
    assert row is not None
    assert (row.user_id, row.bot_id, row.outcome) == (None, "helper", "success")
    assert row.key_id
    assert ModelCall.objects.filter(fault="").count() == 3


@pytest.mark.both
def test_who_has_given_the_bot_away_and_is_erased_during_a_turn_leaves_no_trace(
    api: Api, client_of: Callable[..., APIClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client_of("erin").get("/conversations")
    dave, heir = (User.objects.get(username=name).pk for name in ("dave", "erin"))

    def give_away(value: Any, context: Context) -> Result:
        if User.objects.filter(pk=dave).exists():
            ownership.transfer("helper", heir, actor=Caller(user_id="operator", is_operator=True))
            list(erasing.erase(dave, actor=Program.command("erase_user")))
        return answer_of(value, context)

    offering(monkeypatch, tool(run=give_away, read_only=False))
    conversation, message = api.ask(TWO, userLabel="Rumpelstilzchen")
    work()
    assert api.answer(conversation, message).status_code == 200
    assert set(anything_of(dave)) == {"bedrock_chat_auditentry"}
    assert anything_of("Rumpelstilzchen") == ["publication_turnrequest"], "the bot's new owner has the question"
    assert ModelCall.objects.count() == 3
    assert ToolCall.objects.count() == 2


def test_a_second_attempt_goes_on_from_the_rounds(
    api: Api, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first attempt's process is gone after its first tool has given its result."""

    class Gone(BaseException):
        pass

    def lost(*arguments: Any, **options: Any) -> None:
        raise Gone

    conversation, message = api.ask(TWO)
    with monkeypatch.context() as patched:
        patched.setattr(rounds, "_reserve", lost)
        patched.setattr("conversations.turn.closing.close_failed", lost)
        patched.setattr("conversations.turn.closing.close_turn", lost)
        with pytest.raises(Gone):
            work()
    Message.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    Job.objects.update(due_at=timezone.now() - timedelta(seconds=1))  # of a job that runs: its lease
    work()
    answer = body(api.get(f"/conversation/{conversation}/{message}"))
    assert len(answer["message"]["thinkingLog"]) == 4
    assert [value["query"] for value in recorder.inputs] == ["one", "two"]


def test_a_publication_lowers_the_bounds_of_its_bot(dave: APIClient, api: Api, recorder: Recorder) -> None:
    changed = dave.patch("/bot/helper/publication", {"toolRounds": 1, "toolSeconds": 5}, format="json")
    assert changed.status_code == 200, changed.content
    assert (body(changed)["toolRounds"], body(changed)["toolSeconds"]) == (1, 5)
    api.ask(TWO)
    work()
    assert len(recorder.inputs) == 1
    assert Message.objects.get(role=Role.ASSISTANT).stop_reason == "tool_limit"
    refused = dave.patch("/bot/helper/publication", {"toolRounds": 26}, format="json")
    assert refused.status_code == 400


def test_a_publication_cannot_raise_the_bounds_of_its_bot(dave: APIClient, api: Api, recorder: Recorder) -> None:
    dave.patch("/bot/helper", {"title": "t", "instruction": "i", "toolRounds": 1}, format="json")
    Publication.objects.update(tool_rounds=20)
    api.ask(TWO)
    work()
    assert len(recorder.inputs) == 1


# ---- OpenAI ---------------------------------------------------------------------------------------------------------


def test_a_chat_completion_has_the_text_of_all_rounds(api: Api, recorder: Recorder, emulator: Emulator) -> None:
    completion = complete(api, user(TWO))
    assert said(completion) == (f"{LOOK}\n\n{LOOK}\n\n{DONE}", "stop")
    assert completion["usage"]["completion_tokens"] == sum(ModelCall.objects.values_list("output_tokens", flat=True))
    assert ModelCall.objects.count() == 3
    assert ToolCall.objects.count() == 2
    assert not Conversation.objects.exists()
    assert len(recorder.inputs) == 2


def test_it_is_the_same_as_it_is_written(api: Api, recorder: Recorder) -> None:
    *chunks, done = stream(api, user(TWO))
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
    assert (text, done) == (f"{LOOK}\n\n{LOOK}\n\n{DONE}", "[DONE]")


def test_a_kept_completion_has_its_rounds(dave: APIClient, api: Api, recorder: Recorder) -> None:
    dave.patch("/bot/helper/publication", {"storeOpenAI": True}, format="json")
    complete(api, user(TWO))
    answer = Message.objects.get(role=Role.ASSISTANT)
    assert len(answer.thinking_log) == 4
    assert answer.content == [{"contentType": "text", "body": DONE}]


@pytest.mark.parametrize("field", ["tools", "functions"])
def test_clients_bring_no_tools_of_their_own(api: Api, field: str) -> None:
    response = post(api, {"model": "default", "messages": [user("hello")], field: [{"type": "function"}]})
    assert response.status_code == 400
    assert error_of(response)["type"] == "invalid_request_error"


def test_budgets_of_the_owner_are_asked_for_each_round(api: Api, recorder: Recorder) -> None:
    from bedrock_chat.ledger.budgets.models import Reservation, Unit
    from tests.ledger.budgets.spending import budget

    owner = Publication.objects.get().bot.owner_id
    budget(owner, "1000000", unit=Unit.TOKENS)
    reserved: list[int] = []

    def run(value: Any, context: Context) -> Result:
        reserved.append(Reservation.objects.count())
        return answer_of(value, context)

    recorder._run = run
    complete(api, user(TWO))
    assert reserved == [0, 0], "no call to a model is under way while tools run"
    assert not Reservation.objects.exists()


# ---- Limits ---------------------------------------------------------------------------------------------------------

AGENT = {
    "toolType": "bedrock_agent",
    "name": "bedrock_agent",
    "description": "Asks.",
    "bedrockAgentConfig": {"agentId": "ORDERS0001", "aliasId": "TSTALIASID"},
}


@pytest.mark.parametrize(
    ("model", "limit", "is_keyed"),
    [
        ("claude-v3.7-sonnet", "quota", True),
        ("claude-v3.7-sonnet", "budget", False),
        ("deepseek-r1", "quota", False),
        ("deepseek-r1", "budget", True),
    ],
)
def test_for_whom_a_limit_refuses_aws_is_asked_nothing(
    dave: APIClient, emulator: Emulator, model: str, limit: str, is_keyed: bool
) -> None:
    """Neither what an agent is for, nor passages for a model that takes no tools."""
    agents.forget()
    base = {**BASE, "existKnowledgeBaseId": "KBHANDBOOK"}
    make(dave, "helper", agent={"tools": [AGENT]}, bedrockKnowledgeBase=base)
    share(dave, "helper", "all")
    api = publish(dave, "helper", limits(quota=1 if limit == "quota" else None))

    def ask(key: str) -> int:
        if is_keyed:
            api.client.credentials(HTTP_IDEMPOTENCY_KEY=key)
        status: int = post(api, model=model).status_code
        return status

    assert ask("first") == 200
    looked_up = "GetAgent" if model.startswith("claude") else "Retrieve"
    assert looked_up in {request.get("operation") for request in emulator.requests()}
    assert [row.tool for row in ToolCall.objects.all()] == ["knowledge_base_tool"] * (looked_up == "Retrieve")
    agents.forget()
    emulator.clear_requests()
    if limit == "budget":
        budget(User.objects.get(username="dave").pk, "1")
    assert ask("second") == 429
    assert emulator.requests() == []
