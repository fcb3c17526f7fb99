"""Prompt caching, as the emulator accounts for it: what was sent before is read from the cache."""

from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.bedrock import catalog
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.models import ModelCall
from conversations.content.blocks import Content
from conversations.turn import lifecycle
from conversations.turn.types import ChatInput
from tests import build
from tests.conversations.chat import ids_by_text, read, say
from tests.emulator import Emulator

pytestmark = [pytest.mark.django_db(transaction=True)]
ClientOf = Callable[..., APIClient]

TOKENS = 4_500
"""Tokens of a question: more than the smallest prefix that any model caches."""
FILLER = "x" * (4 * TOKENS - 40)
ANSWER = 17
"""Tokens of an answer: `Echo: ` and sixty characters."""
INSTRUCTION = "You are a baker. " * 1_200
CACHING = sorted(key for key, model in catalog.MODELS.items() if "messages" in model.caching.targets)
MODEL = "claude-v4.5-sonnet"


def caches(key: str) -> bool:
    return key in CACHING


def question(name: str) -> str:
    return f"{name:<40}{FILLER}"


@pytest.fixture
def alice(client_of: ClientOf, emulator: Emulator) -> APIClient:
    return client_of("alice")


def ask(client: APIClient, name: str, **fields: Any) -> ModelCall:
    """Runs one more turn. Returns its ledger row."""
    fields = {"model": MODEL, **fields}
    response = say(client, fields.pop("conversation", "c1"), question(name), **fields)
    assert response.status_code == 200, response.content[:500]
    return ModelCall.objects.latest("pk")


def read_of(call: ModelCall) -> int:
    """All input tokens of a call: plain ones, those read from the cache, and those written to it."""
    return call.input_tokens + call.cache_read_tokens + call.cache_write_tokens


def answer_to(client: APIClient, name: str) -> str:
    """The id of the answer to a question."""
    conversation = read(client, "c1")
    [question_id] = [key for text, key in ids_by_text(conversation).items() if text.startswith(f"{name:<40}")]
    answer: str = conversation["messageMap"][question_id]["children"][0]
    return answer


def marks(body: dict[str, Any]) -> list[str]:
    """Where a request has cache marks: `system`, or the number of a message."""
    places = ["system" for block in body.get("system") or () if "cachePoint" in block]
    for number, message in enumerate(body["messages"]):
        places += [str(number) for block in message["content"] if "cachePoint" in block]
    return places


@pytest.mark.both
@pytest.mark.parametrize("instruction", ["", INSTRUCTION], ids=["without", "with an instruction"])
@pytest.mark.parametrize("model", CACHING)
def test_from_the_second_turn_on_all_that_was_sent_before_is_read_from_the_cache(
    alice: APIClient, model: str, instruction: str
) -> None:
    build.conversation(local.local_user("alice"), "c1", instruction=instruction)
    calls = [ask(alice, f"question {number}", model=model) for number in range(4)]
    first, *later = calls
    assert (first.cache_read_tokens, first.cache_write_tokens) == (0, read_of(first))
    for before, call in zip(calls, later, strict=False):
        assert call.cache_read_tokens == read_of(before)
        assert call.cache_write_tokens <= TOKENS + ANSWER
        assert call.input_tokens <= 10


def test_so_a_conversation_costs_a_fraction(alice: APIClient) -> None:
    calls = [ask(alice, f"question {number}") for number in range(10)]
    paid = sum(call.price - call.output_tokens * call.output_price / 1000 for call in calls)
    uncached = sum(read_of(call) * call.input_price / 1000 for call in calls)
    assert 0 < paid < uncached * 4 / 10


@pytest.mark.parametrize("listener", [None, object()])
def test_it_is_the_same_for_who_listens(emulator: Emulator, listener: object | None) -> None:
    actor = Caller(user_id=local.local_user("alice").pk)
    for number in range(3):
        content = Content(build.text(question(str(number))), {})
        lifecycle.drain(lifecycle.run(ChatInput("c1", catalog.find(MODEL), content), actor=actor, listener=listener))
    reads = list(ModelCall.objects.order_by("pk").values_list("cache_read_tokens", flat=True))
    assert reads[0] == 0
    assert reads[2] > reads[1] >= TOKENS - 1


# ---- Branches -------------------------------------------------------------------------------------------------------


def test_an_edit_reads_what_is_above_it(alice: APIClient) -> None:
    first, second, _ = (ask(alice, name) for name in ("one", "two", "three"))
    edited = ask(alice, "three, edited", parent=answer_to(alice, "two"))
    assert edited.cache_read_tokens == read_of(second)
    assert edited.input_tokens <= 10
    further_up = ask(alice, "two, edited", parent=answer_to(alice, "one"))
    assert further_up.cache_read_tokens == read_of(first)
    assert further_up.input_tokens <= 10


def test_a_branch_is_cached_like_a_trunk(alice: APIClient) -> None:
    ask(alice, "one")
    ask(alice, "two")
    branch = ask(alice, "another two", parent=answer_to(alice, "one"))
    assert ask(alice, "another three").cache_read_tokens == read_of(branch)


@pytest.mark.parametrize("instruction", ["", INSTRUCTION], ids=["without", "with an instruction"])
def test_an_edit_of_the_first_message_reads_the_instruction_at_most(alice: APIClient, instruction: str) -> None:
    build.conversation(local.local_user("alice"), "c1", instruction=instruction)
    ask(alice, "one")
    edited = ask(alice, "one, edited", parent="system")
    assert edited.cache_read_tokens == len(instruction) // 4
    assert edited.cache_write_tokens == TOKENS


def test_another_model_begins_anew_and_then_reads_too(alice: APIClient) -> None:
    ask(alice, "one")
    other = ask(alice, "two", model="claude-v4.5-haiku")
    assert (other.cache_read_tokens, other.input_tokens) == (0, 0)
    assert ask(alice, "three", model="claude-v4.5-haiku").cache_read_tokens == read_of(other)
    assert ask(alice, "four").cache_read_tokens >= TOKENS


def test_a_question_with_an_image_is_read_from_the_cache_like_others(alice: APIClient, png: str) -> None:
    image = {"contentType": "image", "mediaType": "image/png", "body": png}
    text = {"contentType": "text", "body": question("one")}
    assert say(alice, "c1", [text, image], model=MODEL).status_code == 200
    first = ModelCall.objects.latest("pk")
    assert ask(alice, "two").cache_read_tokens == read_of(first)


def test_a_continuation_reads_its_question_from_the_cache(alice: APIClient) -> None:
    assert say(alice, "c1", f"{question('one')}[[max_tokens]]", model=MODEL).status_code == 200
    first = ModelCall.objects.latest("pk")
    assert say(alice, "c1", [], model=MODEL, continue_generate=True).status_code == 200
    assert ModelCall.objects.latest("pk").cache_read_tokens == read_of(first)


# ---- What is marked -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted(catalog.MODELS))
def test_marks_stand_where_the_model_takes_them_and_nowhere_else(
    alice: APIClient, emulator: Emulator, key: str
) -> None:
    build.conversation(local.local_user("alice"), "c1", instruction="Bake.")
    for number in range(3):
        call = ask(alice, f"question {number}", model=key)
    sent = [marks(request["body"]) for request in emulator.requests()]
    if caches(key):
        assert sent == [["system", "0"], ["system", "0", "2"], ["system", "2", "4"]]
    else:
        assert sent == [[], [], []]
        assert (call.cache_read_tokens, call.cache_write_tokens) == (0, 0)
        assert call.input_tokens >= 3 * TOKENS


def test_what_is_shorter_than_the_smallest_prefix_is_simply_read(alice: APIClient, emulator: Emulator) -> None:
    for text in ("hello", "hello again"):
        assert say(alice, "c1", text, model=MODEL).status_code == 200
    call = ModelCall.objects.latest("pk")
    assert marks(emulator.requests()[-1]["body"]) == ["0", "2"]
    assert (call.cache_read_tokens, call.cache_write_tokens) == (0, 0)
    assert call.input_tokens > 0
