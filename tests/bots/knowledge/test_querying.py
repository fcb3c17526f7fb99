"""Questions do not wait for an embeddings model that is silent, nor for a person who asks too often or has left."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.wire.requests import HANG_UP
from bots.chatting import ChattingBot
from bots.knowledge import querying, retrieval, trying
from bots.knowledge.retrieval import RetrievalFault
from bots.tools import servers
from bots.tools.tool import STOPPED
from tests.bots.bot import body
from tests.bots.knowledge.indexed import index
from tests.bots.knowledge.test_retrieval import HOLIDAY, bot_like, bot_of, context, retrieve, texts
from tests.emulator import Emulator
from tests.together import wait_for

pytestmark = pytest.mark.django_db(transaction=True)
SEARCH = "/bot/b/knowledge/search"


@pytest.fixture
def rests() -> Iterator[Callable[[], None]]:
    """Ends all rests, as their time does. No other test finds a model at rest."""

    def end() -> None:
        for server in servers._places._servers.values():
            server.rests_until = 0.0

    yield end
    servers._places._servers.clear()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer of the model that does not come soon is silence."""
    monkeypatch.setattr(querying, "MOST_SECONDS", 0.3)
    monkeypatch.setattr(querying, "SILENT_SECONDS", 0.2)


@pytest.fixture
def bot(alice: APIClient, emulator: Emulator) -> Iterator[ChattingBot]:
    bot = bot_of(alice, "b")
    index("b", HOLIDAY)
    emulator.clear_requests()
    yield bot
    emulator.embeddings()


def asked(emulator: Emulator) -> int:
    return len(emulator.requests())


def test_a_silent_model_is_asked_three_times_and_then_by_one_question_after_each_rest(
    bot: ChattingBot, emulator: Emulator, impatient: None, rests: Callable[[], None]
) -> None:
    emulator.embeddings(wait=30)
    for number in range(1, servers.FAILURES + 3):
        retrieved = retrieve(bot, "vacation days")
        assert (texts(retrieved), retrieved.note) == ([HOLIDAY.chunks[0]], retrieval.WORDS_ALONE)
        assert asked(emulator) == min(number, servers.FAILURES)
    with pytest.raises(RetrievalFault, match="did not answer"):
        retrieve(bot_like(bot, searchType="semantic"), "vacation days")
    assert servers.resting() == ["embeddings titan_v2"]
    assert ModelCall.objects.count() == asked(emulator) == 3  # each of them may have been billed
    rests()
    retrieve(bot, "vacation days")
    retrieve(bot, "vacation days")
    assert asked(emulator) == 4
    emulator.embeddings()
    rests()
    assert [retrieve(bot, "annual leave").note for _ in range(2)] == ["", ""]
    assert servers.resting() == []


def test_a_model_that_refuses_is_asked_again_and_so_is_one_whose_question_had_no_time(
    bot: ChattingBot, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, rests: Callable[[], None]
) -> None:
    emulator.embeddings(troubles=[{"fault": "AccessDeniedException", "message": "no", "times": 5}])
    for _ in range(5):
        retrieve(bot, "vacation days")
    assert asked(emulator) == 5
    emulator.embeddings(wait=30)
    monkeypatch.setattr(querying, "MOST_SECONDS", 0.2)
    for _ in range(5):
        retrieve(bot, "vacation days")
    assert servers.resting() == []
    assert asked(emulator) == 10


def test_a_stop_says_nothing_about_the_model(bot: ChattingBot, emulator: Emulator, rests: Callable[[], None]) -> None:
    emulator.embeddings(wait=30)
    for number in range(1, servers.FAILURES + 2):
        stopped = context(bot)

        def stop(number: int = number, stopped: Any = stopped) -> None:
            wait_for(lambda: asked(emulator) == number)
            stopped.interruption.request()

        thread = threading.Thread(target=stop)
        thread.start()
        with pytest.raises(retrieval.Stopped):
            retrieval.retrieve(bot, "vacation", stopped)
        thread.join()
    assert servers.resting() == []


def test_another_model_is_asked_while_one_rests(
    bot: ChattingBot, alice: APIClient, emulator: Emulator, impatient: None, rests: Callable[[], None]
) -> None:
    emulator.embeddings(wait=30)
    for _ in range(servers.FAILURES):
        retrieve(bot, "vacation days")
    emulator.embeddings()
    with pytest.raises(querying.NotEmbedded):
        querying.embed("titan_v2", "annual leave", context(bot))
    assert len(querying.embed("cohere_multilingual_v3", "annual leave", context(replace(bot)))) == 1024


# ---- Over REST ------------------------------------------------------------------------------------------------------


def test_a_person_may_search_so_often_and_is_told_when_to_come_again(
    bot: ChattingBot, alice: APIClient, carol: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trying, "RATE", "2/m")
    query = {"query": "vacation"}
    assert [alice.post(SEARCH, query, format="json").status_code for _ in range(3)] == [200, 200, 429]
    refused: Any = alice.post(SEARCH, query, format="json")
    assert 0 < int(refused["Retry-After"]) <= 60
    assert body(carol.post(SEARCH, query, format="json"))["passages"]
    missing: Any = alice.post("/bot/nobody/knowledge/search", query, format="json")
    assert missing.status_code == 404


def test_a_search_ends_when_its_client_leaves(bot: ChattingBot, alice: APIClient, emulator: Emulator) -> None:
    emulator.embeddings(wait=30)
    leave: list[threading.Thread] = []

    def notify(callback: Callable[[], object]) -> None:
        """As the server tells a view (`serving.hanging_up`): here once the model was asked."""

        def left() -> None:
            wait_for(lambda: asked(emulator) == 1)
            callback()

        leave.append(threading.Thread(target=left))
        leave[0].start()

    answer: Any = alice.post(SEARCH, {"query": "vacation"}, format="json", **{HANG_UP: notify})
    leave[0].join()
    assert answer.json() == {"passages": [], "note": STOPPED}
    assert emulator.requests()[0]["outcome"] == "left"
