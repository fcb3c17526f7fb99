"""Three people share, star, chat, pin, forget and delete bots in any order: nothing they read contradicts the rules.

`Bots` knows the rules of the contract a second time, in plain Python. Each step asserts what the server answers, and
`look` what somebody sees.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from rest_framework.test import APIClient

from bots.models import Bot, BotAlias, BotGrant, TakenBotId
from conversations.models import Conversation
from tests.bots.bot import body, edit, payload, pin, share, star
from tests.conversations import chat
from tests.emulator import Emulator

SLOW = bool(os.environ.get("SLOW"))
EXAMPLES = 50 if os.environ.get("WHOLE") else 20 if SLOW else 6
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both, *([pytest.mark.slow] if SLOW else [])]

ClientOf = Callable[..., APIClient]

PEOPLE = st.sampled_from(["alice", "bob", "carol"])
MAKERS = {"alice", "carol"}
ADMINS = {"carol"}
BOT_IDS = st.sampled_from(["one", "Two", "_3"])


@dataclass
class Known:
    """A bot as the rules have it."""

    owner: str
    title: str
    created_at: datetime
    scope: str = "private"
    users: set[str] = field(default_factory=set)
    groups: set[str] = field(default_factory=set)
    order: int | None = None


@dataclass
class Relation:
    """What a person has to do with a bot."""

    seen: str
    created_at: datetime
    is_starred: bool = False
    used_at: datetime | None = None


class Bots(RuleBasedStateMachine):
    client_of: ClientOf

    def __init__(self) -> None:
        super().__init__()
        self.now = timezone.now() + timedelta(days=1)  # later than all that the database's clock has written
        self.bots: dict[str, Known] = {}
        self.taken: set[str] = set()
        self.relations: dict[tuple[str, str], Relation] = {}
        self.conversations: dict[str, tuple[str, str]] = {}
        self.bobs_groups: set[str] = set()

    def teardown(self) -> None:
        try:
            for person in ("alice", "bob", "carol"):
                self.look(person)
        finally:
            for model in (BotAlias, Bot, TakenBotId, Conversation):
                model.objects.all().delete()

    # ---- The rules --------------------------------------------------------------------------------------------------

    def client(self, person: str) -> APIClient:
        groups = {"alice": ["CreatingBotAllowed"], "bob": sorted(self.bobs_groups), "carol": ["Admin"]}
        return self.client_of(person, *groups[person])

    def tick(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now

    def is_usable(self, person: str, bot: Known) -> bool:
        groups = self.bobs_groups if person == "bob" else set()
        is_granted = bot.scope == "partial" and (person in bot.users or bool(groups & bot.groups))
        return person == bot.owner or person in ADMINS or bot.scope == "all" or is_granted

    def expected(self, person: str, bot_id: str, *, editing: bool = False) -> int:
        """The status of using a bot, or of editing it, where nothing else is in the way."""
        bot = self.bots.get(bot_id)
        if bot is None:
            return 404
        is_allowed = person in {bot.owner, *ADMINS} if editing else self.is_usable(person, bot)
        return 200 if is_allowed else 403

    def relation(self, person: str, bot_id: str) -> Relation:
        """The person's row, which has seen the bot now. Its moment is set in the database, too, where it is new."""
        relation = self.relations.get((person, bot_id))
        if relation is None:
            relation = self.relations[person, bot_id] = Relation("", self.tick())
            rows = BotAlias.objects.filter(user__username=person, bot=bot_id)
            assert rows.update(created_at=relation.created_at) == 1
        relation.seen = self.bots[bot_id].title
        return relation

    # ---- What people do ---------------------------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        """Alice's bot `one` is everybody's, who all have to do with it; `Two` is Bob's to use, and `_3` is Carol's."""
        for person, bot_id in (("alice", "one"), ("alice", "Two"), ("carol", "_3")):
            self.make(person, bot_id)
        self.share("alice", "one", "all", set(), set())
        self.share("alice", "Two", "partial", {"bob"}, {"sales"})
        for person, bot_id in (("alice", "one"), ("bob", "one"), ("bob", "Two"), ("carol", "_3")):
            self.star(person, bot_id, starred=True)
            self.chat(person, bot_id)

    @rule(person=PEOPLE, bot_id=BOT_IDS)
    def make(self, person: str, bot_id: str) -> None:
        response = self.client(person).post("/bot", payload(bot_id), format="json")
        status = 403 if person not in MAKERS else 409 if bot_id in self.taken else 200
        assert response.status_code == status
        if status == 200:
            self.taken.add(bot_id)
            moment = self.tick()
            Bot.objects.filter(pk=bot_id).update(created_at=moment)
            self.bots[bot_id] = Known(person, f"Title of {bot_id}", moment)

    @rule(
        person=PEOPLE,
        bot_id=BOT_IDS,
        scope=st.sampled_from(["private", "partial", "all", "all"]),
        users=st.sets(PEOPLE, max_size=2),
        groups=st.sets(st.sampled_from(["sales", "support"]), max_size=1),
    )
    def share(self, person: str, bot_id: str, scope: str, users: set[str], groups: set[str]) -> None:
        response = share(self.client(person), bot_id, scope, sorted(users), *sorted(groups))
        status = self.expected(person, bot_id, editing=True)
        if status == 200 and scope != "all" and self.bots[bot_id].order is not None:
            status = 400
        assert response.status_code == status
        if status == 200:
            bot = self.bots[bot_id]
            bot.scope = scope
            bot.users, bot.groups = (users, groups) if scope == "partial" else (set(), set())

    @rule(person=PEOPLE, bot_id=BOT_IDS)
    def edit(self, person: str, bot_id: str) -> None:
        title = f"Title at {self.tick()}"
        status = self.expected(person, bot_id, editing=True)
        assert edit(self.client(person), bot_id, title=title).status_code == status
        if status == 200:
            self.bots[bot_id].title = title

    @rule(person=PEOPLE, bot_id=BOT_IDS)
    def delete(self, person: str, bot_id: str) -> None:
        status = self.expected(person, bot_id, editing=True)
        if status == 200 and self.bots[bot_id].order is not None:
            status = 400
        assert self.client(person).delete(f"/bot/{bot_id}").status_code == status
        if status == 200:
            gone = self.bots.pop(bot_id)
            self.relations.pop((gone.owner, bot_id), None)

    @rule(person=PEOPLE, bot_id=BOT_IDS, starred=st.booleans())
    def star(self, person: str, bot_id: str, starred: bool) -> None:
        status = self.expected(person, bot_id)
        assert star(self.client(person), bot_id, starred=starred).status_code == status
        if status == 200 and starred:
            self.relation(person, bot_id).is_starred = True
        elif status == 200 and (person, bot_id) in self.relations:
            self.relations[person, bot_id].is_starred = False

    @rule(person=st.sampled_from(["carol", "carol", "alice"]), bot_id=BOT_IDS, order=st.sampled_from([None, 1, 7, 999]))
    def pin(self, person: str, bot_id: str, order: int | None) -> None:
        status = 200
        bot = self.bots.get(bot_id)
        if person not in ADMINS:
            status = 403
        elif bot is None:
            status = 404
        elif bot.scope != "all" and (order is not None or bot.scope == "private"):
            status = 400
        assert pin(self.client(person), bot_id, order).status_code == status
        if status == 200 and bot is not None:
            bot.order = order

    @rule(person=PEOPLE, bot_id=BOT_IDS)
    def chat(self, person: str, bot_id: str) -> None:
        """A first turn. Chatting does not tell whether there is a bot that is not theirs to use."""
        conversation_id = f"conversation {len(self.conversations)}"
        self.turn(person, conversation_id, bot_id, bot_id=bot_id)

    @rule(place=st.integers(0, 9))
    def chat_on(self, place: int) -> None:
        """One turn more in a conversation, which can still be read where its bot is not available any more."""
        if place < len(self.conversations):
            conversation_id, (person, bot_id) = list(self.conversations.items())[place]
            self.turn(person, conversation_id, bot_id)
            conversation = chat.read(self.client(person), conversation_id)
            assert conversation["botId"] == bot_id
            assert conversation["botAvailable"] == (self.expected(person, bot_id) == 200)

    def turn(self, person: str, conversation_id: str, named: str, **fields: Any) -> None:
        status = 200 if self.expected(person, named) == 200 else 404
        assert chat.say(self.client(person), conversation_id, "hello", **fields).status_code == status
        if status == 200:
            self.conversations[conversation_id] = (person, named)
            relation = self.relation(person, named)
            relation.used_at = self.tick()
            BotAlias.objects.filter(user__username=person, bot=named).update(last_used_at=relation.used_at)

    @rule(person=PEOPLE, bot_id=BOT_IDS)
    def forget(self, person: str, bot_id: str) -> None:
        status = self.expected(person, bot_id)
        relation = self.relations.get((person, bot_id))
        if relation is not None and status == 200:
            relation.used_at = None
        elif relation is not None:
            del self.relations[person, bot_id]
            status = 200
        assert self.client(person).delete(f"/bot/{bot_id}/recently-used").status_code == status

    @rule(groups=st.sets(st.sampled_from(["sales", "support"]), max_size=1))
    def move(self, groups: set[str]) -> None:
        """Bob's groups change, with his next token."""
        self.bobs_groups = groups

    # ---- What they see ----------------------------------------------------------------------------------------------

    @rule(person=PEOPLE)
    def look(self, person: str) -> None:
        client = self.client(person)
        own = [bot_id for bot_id, bot in self.bots.items() if bot.owner == person]
        starred = [bot_id for (whose, bot_id), row in self.relations.items() if whose == person and row.is_starred]
        used = [bot_id for (whose, bot_id), row in self.relations.items() if whose == person and row.used_at]
        for query, expected in (("", own), ("?kind=mixed&starred=true", starred), ("?kind=mixed&limit=9", used)):
            seen = body(client.get(f"/bot{query}"))
            assert [entry["id"] for entry in seen] == self.in_order(person, expected), query
            for entry in seen:
                assert entry == self.entry(person, entry)
        pinned = [(bot.order, bot.title, bot_id) for bot_id, bot in self.bots.items() if bot.order is not None]
        assert [entry["id"] for entry in body(client.get("/bot/pinned"))] == [bot_id for *_, bot_id in sorted(pinned)]
        for bot_id in ("one", "Two", "_3"):
            response = client.get(f"/bot/summary/{bot_id}")
            assert response.status_code == self.expected(person, bot_id)
            if response.status_code == 200:
                summary = response.json()
                entry = self.entry(person, summary)
                del entry["available"]
                assert {name: summary[name] for name in entry} == entry
        assert set(TakenBotId.objects.values_list("pk", flat=True)) == self.taken
        assert not BotGrant.objects.exclude(bot__scope="partial").exists()

    def last_use(self, person: str, bot_id: str) -> datetime:
        bot, relation = self.bots.get(bot_id), self.relations.get((person, bot_id))
        if relation is not None and relation.used_at is not None:
            return relation.used_at
        if bot is not None and self.is_usable(person, bot):
            return bot.created_at
        assert relation is not None
        return relation.created_at

    def in_order(self, person: str, bot_ids: list[str]) -> list[str]:
        return sorted(bot_ids, key=lambda bot_id: (-self.last_use(person, bot_id).timestamp(), bot_id))

    def entry(self, person: str, shown: dict[str, Any]) -> dict[str, Any]:
        """The entry as the rules have it, with what they do not know as it is shown."""
        bot_id = shown["id"]
        bot, relation = self.bots.get(bot_id), self.relations.get((person, bot_id))
        expected = {
            "id": bot_id,
            "isStarred": relation is not None and relation.is_starred,
            "lastUsedTime": int(self.last_use(person, bot_id).timestamp() * 1000),
            "syncStatus": "SUCCEEDED",
            "description": f"Description of {bot_id}",
        }
        if bot is None or not self.is_usable(person, bot):
            assert relation is not None
            return {
                **expected,
                "title": relation.seen,
                "createTime": int(relation.created_at.timestamp() * 1000),
                "available": False,
                "owned": False,
                "sharedScope": "private",
                "sharedStatus": "unshared",
            }
        status = "unshared" if bot.scope == "private" else "shared"
        return {
            **expected,
            "title": bot.title,
            "createTime": int(bot.created_at.timestamp() * 1000),
            "available": True,
            "owned": bot.owner == person,
            "sharedScope": bot.scope,
            "sharedStatus": status if bot.order is None else f"pinned@{bot.order:03}",
        }


def test_no_order_of_steps_leads_to_what_contradicts_the_rules(client_of: ClientOf, emulator: Emulator) -> None:
    clients: dict[tuple[str, ...], APIClient] = {}

    def known(*who: str) -> APIClient:
        if who not in clients:
            clients[who] = client_of(*who)
        return clients[who]

    for person in ("alice", "bob", "carol"):
        known(person)  # their rows are older than any step
    Bots.client_of = staticmethod(known)  # type: ignore[assignment]
    run_state_machine_as_test(
        Bots,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=50 if SLOW else 20,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink] if SLOW else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
