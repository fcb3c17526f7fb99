"""A bot finds passages of its own documents by words and by meaning, and only those."""

import threading
import time
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall
from bedrock_chat.process.interruption import Interruption
from bots import chatting
from bots.chatting import ChattingBot
from bots.knowledge import retrieval
from bots.knowledge.configuration import undivided
from bots.knowledge.models import Edition, EditionState
from bots.knowledge.retrieval import RetrievalFault, Retrieved, Stopped
from bots.tools.tool import Context
from tests.bots.bot import KNOWLEDGE, make
from tests.bots.knowledge.indexed import Page, index
from tests.emulator import Emulator
from tests.ledger.budgets.spending import budget
from tests.together import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

SITE = {**KNOWLEDGE, "sourceUrls": ["https://example.com/"]}
HOLIDAY = Page(
    "https://example.com/holiday",
    ["Every employee has thirty vacation days a year."],
    link="https://example.com/holiday",
)
PUMP = Page("file:pumps.pdf", ["The pump ZX-81-4 needs oil twice a year."], page=3, body=b"%PDF-1.4 pumps")
MENU = Page("file:menu.txt", ["The canteen opens at noon and closes at two."], body=b"The canteen opens at noon.")


def searching(**params: Any) -> dict[str, Any]:
    """What the form sends of a base of the bot's own."""
    return {
        "embeddingsModel": "titan_v2",
        "chunkingConfiguration": {"chunkingStrategy": "default"},
        "openSearch": {"analyzer": None},
        "searchParams": {"maxResults": 20, "searchType": "hybrid", **params},
        "parsingModel": "disabled",
        "webCrawlingScope": "DEFAULT",
    }


def bot_of(client: APIClient, bot_id: str, **params: Any) -> ChattingBot:
    make(client, bot_id, knowledge=SITE, bedrockKnowledgeBase=searching(**params))
    return chatting.get(bot_id, actor=caller())


def caller() -> Caller:
    return Caller(user_id=User.objects.get(username="alice").pk)


def context(bot: ChattingBot, calls: list[ModelCall] | None = None, window: int | None = None) -> Context:
    return Context(
        time.monotonic() + 20,
        Interruption(),
        caller(),
        bot,
        "c",
        message_external_id="m",
        turn_id="t",
        context_window=window,
        note_call=None if calls is None else calls.append,
    )


def retrieve(bot: ChattingBot, query: str, **fields: Any) -> Retrieved:
    return retrieval.retrieve(bot, query, context(bot, **fields))


def texts(retrieved: Retrieved) -> list[str]:
    return [passage.text for passage in retrieved.passages]


def test_passages_are_found_by_words_and_by_meaning_and_say_where_they_stand(
    alice: APIClient, emulator: Emulator
) -> None:
    bot = bot_of(alice, "b")
    numbers = index("b", HOLIDAY, PUMP, MENU)
    calls: list[ModelCall] = []
    with CaptureQueriesContext(connection) as statements:
        by_meaning = retrieve(bot, "annual leave", calls=calls).passages
    assert len(statements) <= 14, [statement["sql"] for statement in statements]
    assert (by_meaning[0].text, by_meaning[0].document) == (HOLIDAY.chunks[0], numbers[HOLIDAY.location])
    assert (by_meaning[0].name, by_meaning[0].link, by_meaning[0].page) == (HOLIDAY.link, HOLIDAY.link, None)
    by_words = retrieve(bot, "ZX-81-4").passages
    assert (by_words[0].text, by_words[0].name, by_words[0].page) == (PUMP.chunks[0], "pumps.pdf", 3)
    assert "/blobs/" in (by_words[0].link or "")
    (call,) = calls
    stored = ModelCall.objects.filter(purpose="embedding").order_by("pk")[0]
    assert (stored.pk, stored.turn_id, stored.bot_id, stored.user_id) == (call.pk, "t", "b", caller().user_id)
    assert (stored.conversation_external_id, stored.message_external_id, stored.price) == ("c", "m", call.price)
    assert stored.input_tokens > 0
    with pytest.raises(RetrievalFault, match="Nothing is indexed"):
        retrieve(bot_of(alice, "empty"), "annual leave")


def test_another_bots_passages_and_those_out_of_sight_are_never_found(alice: APIClient, emulator: Emulator) -> None:
    bot = bot_of(alice, "b")
    other = bot_of(alice, "other")
    index("b", HOLIDAY, PUMP)
    index("other", MENU)
    assert texts(retrieve(other, "vacation days pump ZX-81-4")) == [MENU.chunks[0]]
    Edition.objects.filter(document__location=PUMP.location).update(state=EditionState.REMOVED)
    assert texts(retrieve(bot, "pump ZX-81-4 oil")) == [HOLIDAY.chunks[0]]


def test_neighbours_are_one_passage_parents_answer_once_and_so_do_equal_texts(
    alice: APIClient, emulator: Emulator
) -> None:
    bot = bot_of(alice, "b", maxResults=4)
    tides = ["Tides come twice a day. ", "The moon makes the tides. ", "Spring tides are high. "]
    parent = Page("file:moon.txt", ["Moon phases and tides. ", "The full moon brings tides."], body=b"x", children=True)
    copy = Page("file:copy.txt", ["Fishing follows the tides."], body=b"y")
    index("b", Page("file:tides.txt", tides, body=b"z"), parent, copy, Page("file:copy2.txt", copy.chunks, body=b"w"))
    retrieved = retrieve(bot, "tides of the moon")
    assert "".join(parent.chunks) in texts(retrieved)
    passages = retrieve(bot_like(bot, maxResults=20), "tides of the moon").passages
    assert sorted(passage.text for passage in passages) == sorted(
        ["".join(tides), "".join(parent.chunks), copy.chunks[0]]
    )
    assert sorted(len(passage.chunks) for passage in passages) == [1, 2, 3]
    assert len(retrieve(bot_like(bot, maxResults=1), "tides of the moon").passages) == 1


def test_of_a_document_that_is_not_cut_all_answers_once_as_far_as_a_result_has_room(
    alice: APIClient, emulator: Emulator, settings: Any
) -> None:
    bot = bot_of(alice, "b")
    leave, oil = "Everybody has thirty days of annual leave.", "The pump ZX-81-4 needs oil twice a year."
    whole = f"{leave}\n\n{oil}\n\nThe canteen opens at noon."
    for number, text in enumerate(whole.split("\n\n")):
        index("b", Page("file:handbook.pdf", [text], page=number + 1, body=b"x"))
    index("b", MENU)
    Edition.objects.filter(document__location="file:handbook.pdf").update(cut=undivided("titan_v2"))
    for query, page in (("pump ZX-81-4", 2), ("annual leave", 1)):
        best = retrieve(bot, query).passages[0]
        assert (best.text, best.page, best.name) == (whole, page, "handbook.pdf")
    passages = retrieve(bot, "annual leave, pump ZX-81-4, canteen at noon").passages
    assert sorted(passage.text for passage in passages) == sorted([whole, MENU.chunks[0]])
    settings.TOOL_RESULT_CHARS = len(f"{leave}\n\n{oil}") + 1
    assert retrieve(bot, "pump ZX-81-4").passages[0].text == f"{leave}\n\n{oil}"
    settings.TOOL_RESULT_CHARS = len(oil) + 1  # the beginning leaves no room for what was found
    assert retrieve(bot, "pump ZX-81-4").passages[0].text == oil


def bot_like(bot: ChattingBot, **params: Any) -> ChattingBot:
    """The same bot as a version with other settings of the search has it."""
    names = {"maxResults": "max_results", "searchType": "search_type"}
    base = bot.configuration["bedrock_knowledge_base"] or {}
    changed = {**base["search_params"], **{names[name]: value for name, value in params.items()}}
    knowledge_base = {**base, "search_params": changed}
    return replace(bot, configuration={**bot.configuration, "bedrock_knowledge_base": knowledge_base})


def test_results_stay_within_the_bound_of_results_and_half_the_window(
    alice: APIClient, emulator: Emulator, settings: Any
) -> None:
    bot = bot_of(alice, "b")
    chapters = [f"Chapter {number} of tides. " + "word " * 100 for number in range(4)]
    index("b", *(Page(f"file:{number}.txt", [text], body=b"x") for number, text in enumerate(chapters)))
    assert len(retrieve(bot, "tides").passages) == 4
    assert len(retrieve(bot, "tides", window=600).passages) == 2
    settings.TOOL_RESULT_CHARS = 1_200
    assert len(retrieve(bot, "tides").passages) == 2
    settings.TOOL_RESULT_CHARS = 300
    (cut,) = retrieve(bot, "tides").passages
    assert len(cut.text) == 300


def test_while_the_model_fails_words_answer_and_say_so_and_meaning_alone_is_an_error(
    alice: APIClient, emulator: Emulator
) -> None:
    bot = bot_of(alice, "b")
    index("b", HOLIDAY, PUMP)
    emulator.embeddings(troubles=[{"fault": "AccessDeniedException", "message": "no", "times": 2}])
    retrieved = retrieve(bot, "vacation days")
    assert (texts(retrieved), retrieved.note) == ([HOLIDAY.chunks[0]], retrieval.WORDS_ALONE)
    with pytest.raises(RetrievalFault) as raised:
        retrieve(bot_like(bot, searchType="semantic"), "vacation days")
    assert raised.value.sentence == retrieval.NO_MEANING
    assert texts(retrieve(bot_like(bot, searchType="semantic"), "annual leave"))[0] == HOLIDAY.chunks[0]


def test_a_query_without_room_in_a_budget_is_answered_from_words(alice: APIClient, emulator: Emulator) -> None:
    bot = bot_of(alice, "b")
    index("b", HOLIDAY, PUMP)
    budget(str(caller().user_id), "0")
    before = emulator.embedded()
    retrieved = retrieve(bot, "vacation days")
    assert (texts(retrieved), retrieved.note) == ([HOLIDAY.chunks[0]], retrieval.WORDS_ALONE)
    assert emulator.embedded() == before
    assert not ModelCall.objects.exists()


def test_a_stop_ends_a_search_within_a_moment(alice: APIClient, emulator: Emulator) -> None:
    bot = bot_of(alice, "b")
    index("b", HOLIDAY)
    emulator.embeddings(wait=30)
    emulator.clear_requests()
    in_context = context(bot)

    def stop() -> None:
        wait_for(lambda: len(emulator.requests()) == 1)
        in_context.interruption.request()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(Stopped):
        retrieval.retrieve(bot, "vacation", in_context)
    thread.join()
    emulator.embeddings()
