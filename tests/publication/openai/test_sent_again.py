"""A chat completion that is sent again with its idempotency key is not answered twice."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.database.connections import release_connection
from bedrock_chat.ledger.models import ModelCall
from conversations.streaming import sse
from conversations.turn import registry
from publication.models import ApiKey, Gate, IdempotencyKey
from tests.bots.bot import make, share
from tests.emulator import Emulator
from tests.publication.api import Api, limits, publish
from tests.publication.openai.chat import PATH, SONNET, complete, error_of, post, stream, user
from tests.together import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]
SECRET = "Rumpelstilzchen"


@pytest.fixture
def limited(dave: APIClient, emulator: Emulator) -> Api:
    make(dave, "helper")
    share(dave, "helper", "all")
    return publish(dave, "helper", limits(quota=2))


def used() -> int:
    return int(Gate.objects.get(account=ApiKey.objects.get().lineage).used)


class Keyed:
    """An API whose requests have an idempotency key."""

    def __init__(self, api: Api, value: str = "k") -> None:
        self.api = api
        api.client.credentials(HTTP_IDEMPOTENCY_KEY=value)

    def post(self, text: str, **fields: Any) -> Any:
        sent = {"model": SONNET, "messages": [user(text)], **fields}
        return self.api.client.post(self.api.path + PATH, sent, format="json", HTTP_X_API_KEY=self.api.key)


def test_it_has_the_same_answer_and_spends_nothing_more(limited: Api, emulator: Emulator) -> None:
    Keyed(limited)
    first = complete(limited, user(SECRET))
    assert complete(limited, user(SECRET)) == first
    assert (used(), ModelCall.objects.count(), len(emulator.requests())) == (1, 1, 1)
    assert SECRET not in str(list(IdempotencyKey.objects.values()))
    Keyed(limited, "another")
    assert complete(limited, user(SECRET))["id"] != first["id"]
    Keyed(limited)
    assert complete(limited, user(SECRET)) == first  # with the quota used up


def test_a_stream_is_streamed_again(limited: Api) -> None:
    Keyed(limited)
    options = {"stream_options": {"include_usage": True}}
    first, again = (stream(limited, user("[[words:20]] [[pace:0.002]]"), **options) for _ in range(2))
    assert len(again) == 5
    assert len(first) > len(again)

    def text_of(events: list[Any]) -> str:
        return "".join(choice["delta"].get("content", "") for event in events[:-1] for choice in event["choices"])

    assert text_of(first) == text_of(again)
    assert [first[index] for index in (0, -3, -2, -1)] == [again[index] for index in (0, -3, -2, -1)]
    assert ModelCall.objects.count() == 1


def test_a_stream_that_is_streamed_again_is_open_while_it_is_sent(limited: Api) -> None:
    Keyed(limited)
    stream(limited, user())
    response = post(limited, user(), stream=True)

    async def read() -> list[int]:
        pieces = aiter(response.streaming_content)
        await anext(pieces)
        return [sse.streams_open(), len([piece async for piece in pieces]), sse.streams_open()]

    assert asyncio.run(read()) == [1, 1, 0]
    response.close()


def test_another_body_is_refused_and_so_is_the_same_while_it_runs(limited: Api) -> None:
    keyed = Keyed(limited)

    def ask() -> Any:
        try:
            return keyed.post("[[silence:1]]")
        finally:
            release_connection()

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask)
        wait_for(lambda: registry.other_runs() and IdempotencyKey.objects.exists())
        running = keyed.post("[[silence:1]]")
        assert (running.status_code, running.headers["Retry-After"]) == (409, "2")
        assert error_of(running)["type"] == "invalid_request_error"
        assert keyed.post("another").status_code == 422
        assert first.result(10).status_code == 200
    other = keyed.post("another")
    assert (other.status_code, error_of(other)["type"]) == (422, "invalid_request_error")
    assert used() == 1


def test_what_was_refused_or_has_failed_may_be_sent_again(limited: Api, emulator: Emulator) -> None:
    keyed = Keyed(limited)
    assert keyed.post("hello", n=2).status_code == 400
    assert not IdempotencyKey.objects.exists()
    emulator.script(fault="ModelErrorException", times=2)
    assert keyed.post("hello").status_code == 502
    assert not IdempotencyKey.objects.exists()
    emulator.script()
    assert used() == 2
    limited_again = keyed.post("hello")
    assert limited_again.status_code == 429  # it counts anew
