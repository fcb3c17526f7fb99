"""`GET /conversations/search`: which conversations a user finds, and what the response looks like."""

import unicodedata
from collections.abc import Callable
from html import escape
from importlib import import_module
from random import Random
from typing import Any

import pytest
from django.apps import apps
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat.identity import local
from bedrock_chat.identity.models import User
from bedrock_chat.search import index
from bedrock_chat.search.models import SearchDocument
from conversations.models import Conversation
from conversations.search import hits, indexing
from tests import build

pytestmark = [pytest.mark.django_db, pytest.mark.both]
ClientOf = Callable[..., APIClient]


@pytest.fixture
def users(client_of: ClientOf) -> dict[str, User]:
    return {name: local.local_user(name) for name in ("alice", "bob", "carol")}


def ask(client: APIClient, query: str, **parameters: Any) -> list[dict[str, Any]]:
    response = client.get("/conversations/search", {"query": query, **parameters})
    assert response.status_code == 200, response.content
    return response.json()


def ids(client: APIClient, query: str, **parameters: Any) -> list[str]:
    return [hit["id"] for hit in ask(client, query, **parameters)]


def talk(user: User, conversation_id: str, text: str, **columns: Any) -> Conversation:
    conversation = build.conversation(user, conversation_id, **columns)
    build.answer(build.question(conversation, text), "I see.")
    return conversation


def test_everybody_finds_their_own_conversations_alone(client_of: ClientOf, users: dict[str, User]) -> None:
    talk(users["alice"], "hers", "about lighthouses")
    talk(users["bob"], "his", "about lighthouses, too")
    indexing.index_what_is_new()
    assert ids(client_of("alice"), "lighthouses") == ["hers"]
    assert ids(client_of("bob"), "lighthouses") == ["his"]
    assert ids(client_of("carol", "Admin"), "lighthouses") == []


@pytest.mark.parametrize("query", ["xanadu", "xanada", "xana", "xanadu weather", "秘密"])
def test_a_strangers_words_are_never_found_or_suggested(
    client_of: ClientOf, users: dict[str, User], query: str
) -> None:
    talk(users["bob"], "his", "the codename is xanadu 秘密", title="xanadu 秘密")
    talk(users["alice"], "hers", "the weather in spring")
    indexing.index_what_is_new()
    hits = ask(client_of("alice"), query)
    assert [hit["id"] for hit in hits] == (["hers"] if "weather" in query else [])
    assert "xanadu" not in str(hits)


def test_what_the_index_says_is_confirmed_by_the_rows(client_of: ClientOf, users: dict[str, User]) -> None:
    """Even if the index is wrong, nobody reads a conversation of somebody else."""
    bobs = talk(users["bob"], "his", "the codename is xanadu")
    key = bobs.messages.first().pk
    scope = f"user:{users['alice'].pk}"
    index.write(index.Group(indexing.KIND, bobs.pk, (scope,), scope), [index.Document(key, "the codename is xanadu")])
    alices = talk(users["alice"], "hers", "nothing of that kind")
    index.write(index.Group(indexing.KIND, alices.pk, (scope,), scope), [index.Document(key, "the codename is xanadu")])
    hits = ask(client_of("alice"), "xanadu")
    assert hits == [
        {
            "id": "hers",
            "title": "New conversation",
            "lastUpdatedTime": hits[0]["lastUpdatedTime"],
            "botId": None,
            "highlights": None,
        }
    ]


def test_a_hit_reads_as_the_contract_says(client_of: ClientOf, users: dict[str, User]) -> None:
    conversation = talk(users["alice"], "c1", "Who lives in a lighthouse by the river?", title="Lighthouses & keepers")
    build.answer(build.question(conversation, "And the <b>lighthouse</b> at sea?"), "A lighthouse keeper.")
    indexing.index_what_is_new()
    conversation.refresh_from_db()
    assert ask(client_of("alice"), "lighthouse") == [
        {
            "id": "c1",
            "title": "Lighthouses & keepers",
            "lastUpdatedTime": float(int(conversation.updated_at.timestamp() * 1000)),
            "botId": None,
            "highlights": [
                {
                    "fieldName": "MessageBody",
                    "fragments": [
                        "A <em>lighthouse</em> keeper.",
                        "And the &lt;b&gt;<em>lighthouse</em>&lt;/b&gt; at sea?",
                    ],
                }
            ],
        }
    ]
    (hit,) = ask(client_of("alice"), "lighthouses")
    assert hit["highlights"] == [
        {"fieldName": "Title", "fragments": ["<em>Lighthouses</em> &amp; keepers"]},
    ]


def test_who_wants_snake_case_gets_it(client_of: ClientOf, users: dict[str, User]) -> None:
    talk(users["alice"], "c1", "about lighthouses")
    indexing.index_what_is_new()
    accept = "application/json; case=snake"
    response = client_of("alice").get("/conversations/search", {"query": "lighthouses"}, headers={"Accept": accept})
    (hit,) = response.json()
    assert {"last_updated_time", "bot_id"} <= hit.keys()
    assert hit["highlights"][0]["field_name"] == "MessageBody"


def test_a_conversation_is_one_hit_however_often_it_answers(client_of: ClientOf, users: dict[str, User]) -> None:
    conversation = talk(users["alice"], "c1", "about lighthouses", title="lighthouses")
    for number in range(5):
        build.exchange(conversation, f"more about lighthouses, number {number}")
    indexing.index_what_is_new()
    (hit,) = ask(client_of("alice"), "lighthouses")
    (title, body) = hit["highlights"]
    assert title["fragments"] == ["<em>lighthouses</em>"]
    assert 1 <= len(body["fragments"]) <= hits.FRAGMENTS_SHOWN


def test_there_are_twenty_hits_unless_asked_otherwise(client_of: ClientOf, users: dict[str, User]) -> None:
    for number in range(22):
        talk(users["alice"], f"c{number}", "about lighthouses")
    indexing.index_what_is_new()
    alice = client_of("alice")
    assert len(ids(alice, "lighthouses")) == 20
    assert len(ids(alice, "lighthouses", limit=3)) == 3
    assert len(ids(alice, "lighthouses", limit=100)) == 22


@pytest.mark.parametrize(
    "parameters",
    ["", "query", "query=", "query=%20%20", "query=a&limit=0", "query=a&limit=101", "query=a&limit=ten", "limit=5"],
)
def test_a_query_that_cannot_be_is_a_400(client_of: ClientOf, parameters: str) -> None:
    response = client_of("alice").get(f"/conversations/search?{parameters}")
    assert response.status_code == 400
    assert response.json()["errors"][0].startswith(("query: ", "limit: "))


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '"lighthouse',
        "lighthouse*",
        "lighthouse AND",
        "NOT lighthouse",
        "NEAR(lighthouse, 2)",
        "terms : lighthouse",
        "^lighthouse",
        "lighthouse)",
        "lighthouse' OR 1=1 --",
        "(lighthouse & !x) | <-> :*",
        "lighthouse\\",
        "%lighthouse_",
        "\u200blighthouse\u200b",
        "lighthouse " * 800,
    ],
)
def test_nothing_in_a_query_is_an_operator(client_of: ClientOf, users: dict[str, User], query: str) -> None:
    talk(users["alice"], "c1", "a lighthouse")
    talk(users["alice"], "c2", "something else")
    indexing.index_what_is_new()
    assert ids(client_of("alice"), query) == ([] if query == '"' else ["c1"])


@pytest.mark.parametrize(
    "query",
    [
        "%FF%FE",
        "%ED%A0%80",
        "%F0%9F%A6%84",
        "%20a%0d%0ab%20",
        "x" * 10_000,
        "%E6%9D%B1" * 10_000,
        "a+b+" * 2500,
        "%E0%B8%B3" + "%E0%B9%87" * 700,
    ],
)
def test_no_query_is_a_fault_of_the_server(client_of: ClientOf, query: str) -> None:
    assert client_of("alice").get(f"/conversations/search?query={query}").status_code == 200


def test_files_reasoning_and_tools_are_not_searched(client_of: ClientOf, users: dict[str, User]) -> None:
    conversation = build.conversation(users["alice"], "c1")
    blocks = [
        {"contentType": "reasoning", "text": "hidden", "signature": "", "redactedContent": ""},
        {"contentType": "toolUse", "body": {"toolUseId": "t", "name": "hidden", "input": {"q": "hidden"}}},
        {"contentType": "text", "body": "shown"},
    ]
    build.answer(build.question(conversation, "a question"), "", content=blocks)
    indexing.index_what_is_new()
    assert ids(client_of("alice"), "shown") == ["c1"]
    assert ids(client_of("alice"), "hidden") == []


def test_every_branch_is_searched(client_of: ClientOf, users: dict[str, User]) -> None:
    conversation = build.conversation(users["alice"], "c1")
    build.exchange(conversation, "the first wording")
    build.exchange(conversation, "the edited wording")
    indexing.index_what_is_new()
    assert ids(client_of("alice"), "first wording") == ids(client_of("alice"), "edited wording") == ["c1"]


def test_what_a_publication_holds_is_not_indexed() -> None:
    user = local.local_user("alice")
    conversation = build.conversation(user, "c1")
    Conversation.objects.filter(pk=conversation.pk).update(user=None, publication_id="p1")
    build.exchange(conversation, "said to a published bot")
    assert indexing.index_what_is_new() == 0


# ---- Any of its own words -------------------------------------------------------------------------------------------

TEXTS = [
    "Bread: 5 € + 3 $ = ~8 £ | <b>crust</b> `yeast` ^2",
    "🦄 and 👍🏽, 👩\u200d💻 ❤\ufe0f 1\ufe0f\u20e3 🇫🇷",
    "∀x ∈ ℝ: x² ≥ 0 → ½ ⁺ ＋ ﹢ ´ ¨ ℃ №7 ™",
    "東京タワー→2026年★ 서울♥ สวัสดี☺",
    "ราคา ฿500 ៛ ⼂ と ⽇本, 한 ᆨ",
    "C++ & F# and a.b->c(); x != y; 100% §5 «quoted» — “so”…",
]


def own_words(text: str) -> set[str]:
    """Runs of letters, digits and their marks, and each symbol."""
    plain = "".join(letter if unicodedata.category(letter)[0] in "LNM" else " " for letter in text)
    return set(plain.split()) - {"\ufe0f"} | {letter for letter in text if unicodedata.category(letter)[0] == "S"}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_found_by_any_of_its_own_words_and_symbols(
    client_of: ClientOf, users: dict[str, User], text: str
) -> None:
    talk(users["alice"], "c1", text, title=text)
    talk(users["alice"], "c2", "something else")
    indexing.index_what_is_new()
    alice = client_of("alice")
    for word in sorted(own_words(text)):
        (hit, *others) = ask(alice, word)
        assert hit["id"] == "c1", word
        assert not others or not word.isalnum(), word
        assert {highlight["fieldName"] for highlight in hit["highlights"]} == {"Title", "MessageBody"}, word
        assert f"<em>{escape(word, quote=False)}" in hit["highlights"][0]["fragments"][0], word


SCRIPTS = [
    (0x20, 0x7E), (0xA0, 0x24F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x5D0, 0x5EA), (0x620, 0x6FF),
    (0x900, 0x97F), (0xE00, 0xEFF), (0x1000, 0x109F), (0x1100, 0x11FF), (0x1780, 0x17FF), (0x2000, 0x2BFF),
    (0x2E80, 0x2FDF), (0x3000, 0x33FF), (0x4E00, 0x4EFF), (0xAC00, 0xACFF), (0xFF00, 0xFFEF), (0x10000, 0x103FF),
    (0x1D400, 0x1D7FF), (0x1F300, 0x1FAFF),
]  # fmt: skip


def odd_text(random: Random) -> str:
    """Pieces of any scripts, with something between them or nothing; symbols, marks and punctuation stand anywhere."""
    pieces = []
    for _ in range(random.randint(1, 12)):
        scripts = [random.choice(SCRIPTS)] * random.randint(1, 5) + [random.choice(SCRIPTS)]
        pieces.append("".join(chr(random.randint(*script)) for script in scripts))
    return random.choice([" ", " ", "", "-", "\n"]).join(pieces)


def test_any_text_is_found_by_any_of_its_own_words_and_symbols(client_of: ClientOf, users: dict[str, User]) -> None:
    random = Random(17)
    texts = {f"c{number}": odd_text(random) for number in range(25)}
    for name, text in texts.items():
        talk(users["alice"], name, text)
    indexing.index_what_is_new()
    alice = client_of("alice")
    for name, text in texts.items():
        for word in own_words(text):
            if any(unicodedata.category(letter)[0] in "LNS" and letter not in "ﾞﾟ" for letter in word):
                assert name in ids(alice, word, limit=100), (text, word)


@pytest.mark.parametrize("punctuation", list("%§…«—“(;_\u200d\ufe0f") + list("၊။។៚๏๚๛〜〽"))
def test_nothing_is_found_by_punctuation(client_of: ClientOf, users: dict[str, User], punctuation: str) -> None:
    talk(users["alice"], "c1", f"{' '.join(TEXTS)} သွားမယ်။ ទៅ។ ๏ ไป๚ 行く〜")
    indexing.index_what_is_new()
    assert ids(client_of("alice"), punctuation) == []


def test_texts_that_were_indexed_without_their_symbols_are_indexed_anew(
    client_of: ClientOf, users: dict[str, User]
) -> None:
    """As the migration marks them."""
    conversation = talk(users["alice"], "c1", "5 € a loaf 🦄")
    indexing.index_what_is_new()
    documents = SearchDocument.objects.filter(group_id=conversation.pk)
    for document in documents:
        words = " ".join(word for word in document.words.split() if word.isalnum())
        SearchDocument.objects.filter(pk=document.pk).update(words=words)
    assert ids(client_of("alice"), "🦄") == []
    import_module("conversations.migrations.0009_index_symbols").index_anew(apps, connection.schema_editor())
    indexing.index_what_is_new()
    assert ids(client_of("alice"), "🦄") == ids(client_of("alice"), "€") == ["c1"]


@pytest.mark.parametrize(
    "query", ["lighthouse | tower", "> lighthouse tower", "lighthouse + tower =", "$ tower lighthouse"]
)
def test_symbols_between_words_are_left_out_where_no_text_has_them(
    client_of: ClientOf, users: dict[str, User], query: str
) -> None:
    talk(users["alice"], "both", "the lighthouse has a tower")
    talk(users["alice"], "one", "the lighthouse has none")
    talk(users["alice"], "two", "a tower of books")
    indexing.index_what_is_new()
    assert ids(client_of("alice"), query) == ["both"]
