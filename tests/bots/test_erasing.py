"""A person is erased: their bots go, and others' bots keep no id of theirs."""

from collections.abc import Iterator
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import ADMIN, CREATING_BOT_ALLOWED, Caller, Program
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import Forbidden, NotFound
from bots import aliases, editing, sharing
from bots.knowledge.models import SourceKind
from bots.models import Bot, BotAlias, BotGrant, BotVersion, Scope, TakenBotId
from conversations.models import Conversation
from tests.bots.bot import KNOWLEDGE, body, edit, firecrawl, ids, make, payload, pin, read, share, star
from tests.bots.knowledge.rows import document, known, source
from tests.conversations.chat import say
from tests.emulator import Emulator
from tests.traces import anything_of

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
WORD = "Rumpelstilzchen"
COMMAND = Program.command("erase_user")


def erase(name: str) -> str:
    sub = id_of(name)
    list(erasing.erase(sub, actor=COMMAND))
    return sub


def id_of(name: str) -> str:
    return User.objects.get(username=name).pk


def sent(**fields: Any) -> dict[str, Any]:
    """What the serializer makes of a plain bot."""
    return {"title": "Title", "instruction": "Be kind.", **fields}


def test_nothing_that_a_person_wrote_is_left_and_their_ids_stay_taken(
    alice: APIClient, bob: APIClient, carol: APIClient
) -> None:
    for bot_id in ("pinned", "private", "deleted"):
        make(alice, f"{bot_id}-bot", title=WORD, description=WORD, instruction=WORD, agent=firecrawl(WORD))
        edit(alice, f"{bot_id}-bot", title=f"{WORD} again")
    edit(alice, "private-bot", knowledge={**KNOWLEDGE, "sourceUrls": ["https://x.example/"]})
    page = source(known("private-bot"), SourceKind.WEB, f"https://x.example/{WORD}")
    document(page, f"https://x.example/{WORD}", f"A passage of {WORD}.")
    for bot_id in ("pinned-bot", "deleted-bot"):
        share(alice, bot_id, "all")
        star(bob, bot_id)
        star(alice, bot_id)
    pin(carol, "pinned-bot", 3)
    assert alice.delete("/bot/deleted-bot").status_code == 200
    make(carol, "carols")
    share(carol, "carols", "all")
    star(bob, "carols")
    sub = erase("alice")
    assert anything_of(WORD) == []
    assert set(anything_of(sub)) == {"bedrock_chat_auditentry"}
    assert list(Bot.objects.values_list("pk", flat=True)) == ["carols"]
    assert ids(bob.get("/bot?kind=mixed&starred=true")) == ["carols"]
    assert carol.get("/bot/pinned").json() == []
    for bot_id in ("pinned-bot", "private-bot", "deleted-bot"):
        assert TakenBotId.objects.filter(pk=bot_id).exists()
        assert carol.post("/bot", payload(bot_id), format="json").status_code == 409


def test_conversations_of_others_stay_and_forget_the_instruction(
    alice: APIClient, bob: APIClient, carol: APIClient, emulator: Emulator
) -> None:
    make(carol, "carols", instruction="Carol's.")
    for bot_id in ("alices", "deleted"):
        make(alice, bot_id, instruction=f"{WORD} of {bot_id}")
        share(alice, bot_id, "all")
    for client, bot_id in ((bob, "alices"), (bob, "deleted"), (carol, "carols")):
        assert say(client, f"with-{bot_id}", "hello", bot_id=bot_id).status_code == 200
    alice.delete("/bot/deleted")
    erase("alice")
    assert anything_of(WORD) == []
    assert set(Conversation.objects.values_list("instruction", flat=True)) == {"", "Carol's."}
    opened = body(bob.get("/conversation/with-alices"))
    assert (opened["botId"], opened["botAvailable"], len(opened["messageMap"])) == ("alices", False, 3)
    assert say(bob, "with-alices", "again").status_code == 404
    assert ids(bob.get("/bot?kind=mixed&limit=10")) == []


def test_a_person_leaves_the_lists_of_others_and_nobody_else_does(alice: APIClient, bob: APIClient) -> None:
    for bot_id in ("one", "two", "three"):
        make(alice, bot_id)
    share(alice, "one", "partial", ["bob", "dora"], "sales")
    share(alice, "two", "partial", ["bob"])
    share(alice, "three", "partial", ["dora"], id_of("bob"))  # a group that is called like Bob's id
    star(bob, "one")
    sub = erase("bob")
    left = set(BotGrant.objects.values_list("bot_id", "kind", "grantee"))
    dora = id_of("dora")
    assert left == {("one", "user", dora), ("one", "group", "sales"), ("three", "user", dora), ("three", "group", sub)}
    assert read(alice, "two")["sharedScope"] == "partial"
    assert not BotAlias.objects.exists()


def test_versions_of_others_bots_keep_no_id_of_their_author(alice: APIClient, carol: APIClient) -> None:
    make(alice, "a")
    edit(carol, "a", title="Two")
    edit(carol, "a", title="Three")
    sub = erase("carol")
    authors = list(BotVersion.objects.order_by("number").values_list("author_id", flat=True))
    assert authors[0] == id_of("alice")
    assert authors[1] == authors[2]
    assert authors[1].startswith("erased:")
    assert sub not in str(alice.get("/bot/a/versions/2").json())


def test_each_write_is_recorded_with_the_program(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    make(alice, "a")
    share(alice, "a", "all")
    pin(carol, "a", 7)
    make(carol, "c")
    share(carol, "c", "partial", ["alice", "bob"])
    before = AuditEntry.objects.count()
    erase("alice")
    entries = list(AuditEntry.objects.order_by("pk"))[before:]
    assert {(entry.actor_kind, entry.actor_id) for entry in entries} == {("command", "erase_user")}
    assert [(entry.verb, entry.target_id, entry.fields, entry.values) for entry in entries] == [
        ("unpin", "a", ["pinned_order"], {"order": {"before": 7, "after": None}}),
        ("delete", "a", [], {}),
        ("share", "c", ["users"], {}),
    ]


class Killed(Exception):
    """The process ended here."""


def test_it_may_be_repeated_wherever_it_was_cut_short(
    alice: APIClient, bob: APIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed before each write once, and goes on from there."""
    for bot_id in ("one", "two", "three"):
        make(alice, bot_id)
        share(alice, bot_id, "all")
        star(bob, bot_id)
    sub = id_of("alice")
    remove = editing.remove
    for left in (3, 2, 1):
        removed = 0

        def remove_one(bot: Bot, **options: Any) -> None:
            nonlocal removed
            if removed:
                raise Killed
            removed += 1
            remove(bot, **options)

        with monkeypatch.context() as patched:
            patched.setattr(editing, "remove", remove_one)
            patched.setattr("conversations.persons.erasing.index.compact", lambda: (_ for _ in ()).throw(Killed))
            with pytest.raises(Killed):
                list(erasing.erase(sub, actor=COMMAND))
        assert Bot.objects.count() == left - 1
    assert User.objects.filter(pk=sub).exists()
    list(erasing.erase(sub, actor=COMMAND))
    assert set(anything_of(sub)) == {"bedrock_chat_auditentry"}
    assert not BotAlias.objects.exists()
    assert AuditEntry.objects.filter(verb="delete").count() == 3


def steps_after_bots(sub: str) -> Iterator[str]:
    """Goes on with an erasure that has deleted the bots, and has its last transaction before it."""
    steps = erasing.erase(sub, actor=COMMAND)
    for step in steps:
        if step.endswith("are not shared with the user any more."):
            return steps
    raise AssertionError


def test_what_requests_under_way_write_meanwhile_goes_too(alice: APIClient, bob: APIClient, carol: APIClient) -> None:
    """Alice and her requests were let in before she was erased."""
    make(alice, "early")
    make(carol, "carols")
    share(carol, "carols", "all")
    sub = id_of("alice")
    actor = Caller(user_id=sub, groups=frozenset({CREATING_BOT_ALLOWED, ADMIN}))
    steps = steps_after_bots(sub)
    editing.create("late", sent(title=WORD), actor=actor)
    sharing.share("late", Scope.ALL, actor=actor)
    sharing.pin("late", 1, actor=actor)
    editing.modify("carols", {"title": "Edited"}, actor=actor)
    aliases.set_star("carols", starred=True, actor=actor)
    star(bob, "late")
    sharing.share("carols", Scope.PARTIAL, [sub], actor=Caller(user_id=id_of("carol")))
    list(steps)
    assert anything_of(WORD) == []
    assert set(anything_of(sub)) == {"bedrock_chat_auditentry"}
    assert TakenBotId.objects.filter(pk="late").exists()
    assert BotVersion.objects.get(bot="carols", number=2).author_id.startswith("erased:")


def test_whoever_is_gone_writes_nothing_more(alice: APIClient, carol: APIClient) -> None:
    make(alice, "a")
    make(carol, "c")
    sub = erase("carol")
    actor = Caller(user_id=sub, groups=frozenset({ADMIN}))
    with pytest.raises(Forbidden, match="gone"):
        editing.create("late", sent(), actor=actor)
    with pytest.raises(Forbidden, match="gone"):
        editing.modify("a", {"title": WORD}, actor=actor)
    with pytest.raises(NotFound):
        editing.modify("c", {"title": WORD}, actor=actor)
    with pytest.raises(Forbidden, match="gone"):
        aliases.set_star("a", starred=True, actor=actor)
    assert anything_of(WORD) == []
    assert Bot.objects.get().version == 1
