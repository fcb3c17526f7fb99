"""People at random work: questions, titles, continuations, an API and its chat completions, faults and kills."""

import json
import os
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rest_framework.test import APIClient

from bedrock_chat.identity.models import User
from bedrock_chat.ledger.budgets.models import PayerKind, Period, Unit
from bedrock_chat.wire.event_stream import EVENT_STREAM
from publication.models import ApiKey
from tests.conversations.chat import MODEL, payload, read, say
from tests.conversations.test_crash import database_url
from tests.emulator import Emulator
from tests.forking import client as forking
from tests.ledger import truth
from tests.ledger.budgets.spending import budget
from tests.publication.api import Api, events_of, question, work

ROOT = Path(__file__).resolve().parent.parent.parent
MODELS = (MODEL, "amazon-nova-pro", "mistral-large")
MARKERS = (
    *("", "", "", "", "[[words:40]]", "[[empty]]", "[[max_tokens]]", "[[reasoning]]"),
    *("[[throttle:1]]", "[[throttle]]", "[[validation]]", "[[cut:after:2]] [[words:9]]", "[[cut:times:1]]"),
    *("[[fault:ModelErrorException:after:3]] [[words:9]]", "[[fault:ServiceUnavailableException:times:1]]"),
    *("[[fault:ModelStreamErrorException]]", "[[end]]"),
)
LONG = "a long instruction, of which the prompt cache has something to keep; " * 80


class World:
    """Alice, Bob and Dave, who publishes a bot, at random work. Conversations have names, which their texts show."""

    def __init__(self, seed: int, clients: dict[str, APIClient], api: Api) -> None:
        self.rng = random.Random(seed)
        self.clients = clients
        self.api = api
        self.owners: dict[str, str] = {}
        self.conversations: dict[str, str] = {}
        self.answers: Counter[str] = Counter()

    def begin(self, kind: str, owner: str) -> str:
        name = f"{kind}-{len(self.conversations)}"
        self.conversations[name], self.owners[name] = name, owner
        return name

    def some(self, kind: str) -> str | None:
        return self.rng.choice([name for name in self.conversations if name.startswith(kind)] or [None])  # type: ignore[list-item]

    def text(self, name: str) -> str:
        return f"{truth.tag(name)} question {self.rng.randrange(10**6)} {self.rng.choice(MARKERS)}"

    def act(self) -> None:
        acts = (self.ask, self.ask, self.ask, self.ask_again, self.go_on, self.title, self.publish, self.complete)
        self.rng.choice(acts)()

    def ask(self) -> None:
        """A question in a new or an old conversation, at its end or as another branch; sometimes sent twice."""
        name = self.some("own") if self.rng.random() < 0.6 else None
        if name is None:
            name = self.begin("own", self.rng.choice(["alice", "bob"]))
        fields: dict[str, Any] = {"model": self.rng.choice(MODELS), "message_id": f"m{self.rng.randrange(10**9)}"}
        if self.rng.random() < 0.3 and self.answers[name]:
            fields["parent"] = self.rng.choice(list(read(self.clients[self.owners[name]], name)["messageMap"]))
        if self.owners[name] == "bob" and not self.answers[name]:
            fields["bot_id"] = "helper"
        sent = self.text(name), fields
        for _ in range(self.rng.choice([1, 1, 1, 2])):
            self.send(name, *sent)

    def send(self, name: str, text: str, fields: dict[str, Any]) -> None:
        """Whole, or as a stream that is listened to until its end."""
        client = self.clients[self.owners[name]]
        if self.rng.random() < 0.5:
            response = say(client, name, text, **fields)
            self.answers[name] += response.status_code == 200
        else:
            sent = payload(name, text, **fields)
            response = client.post("/conversation", sent, format="json", HTTP_ACCEPT=EVENT_STREAM)
            if response.status_code == 200:
                self.answers[name] += events_of(response)[-1].name == "message_stop"
        self.count(response.status_code)

    def ask_again(self) -> None:
        """A question that failed is asked again, as clients do."""
        name = self.some("own")
        if name is None or not self.answers[name]:
            return
        shown = read(self.clients[self.owners[name]], name)
        last = shown["messageMap"].get(shown["lastMessageId"], {})
        if last.get("role") == "user":
            text = last["content"][0]["body"]
            self.send(name, text, {"message_id": shown["lastMessageId"], "model": MODEL, "parent": last["parent"]})

    def break_off(self) -> None:
        """A stream that Bedrock breaks off: what it used is estimated. The one after it has been cached."""
        name = self.begin("own", "bob")
        for text in ("[[cut:after:3]] [[words:9]]", "[[words:9]]"):
            sent = payload(name, f"{truth.tag(name)} {text}", bot_id="helper")
            response = self.clients["bob"].post("/conversation", sent, format="json", HTTP_ACCEPT=EVENT_STREAM)
            self.count(response.status_code)
            if response.status_code == 200:
                events_of(response)

    def go_on(self) -> None:
        """An answer that was cut short is continued."""
        name = self.begin("own", "alice")
        self.send(name, f"{truth.tag(name)} [[max_tokens]]", {})
        self.send(name, "", {"continue_generate": True})

    def title(self) -> None:
        answered = [name for name in self.conversations if name.startswith("own") and self.answers[name]]
        if answered:
            name = self.rng.choice(answered)
            response = self.clients[self.owners[name]].get(f"/conversation/{name}/proposed-title")
            self.count(response.status_code)

    def publish(self) -> None:
        """A question to the API, in a new or an old conversation, and the jobs that are due."""
        name = self.some("published") if self.rng.random() < 0.5 else None
        if name is None:
            name = self.begin("published", "dave")
            conversation = {}
        else:
            conversation = {"conversationId": self.conversations[name]}
        accepted = self.api.post(question(self.text(name), **conversation))
        assert accepted.status_code == 200, accepted.content
        self.conversations[name] = accepted.json()["conversationId"]
        work()

    def complete(self) -> None:
        """A chat completion of OpenAI's clients. All of them count as one conversation here."""
        self.conversations.setdefault("completions", "")
        sent = {
            "model": self.rng.choice(MODELS[:2]),
            "messages": [{"role": "user", "content": self.text("completions")}],
        }
        path = f"{self.api.path}/v1/chat/completions"
        headers = {"HTTP_AUTHORIZATION": f"Bearer {self.api.key}"}
        self.count(self.api.client.post(path, sent, format="json", **headers).status_code)

    def count(self, status: int) -> None:
        assert status in (200, 400, 404, 409, 429, 500, 502, 503, 504), status

    def kill(self, emulator: Emulator, kills: int, data_dir: Path) -> dict[str, int]:
        """Turns of Alice's whose processes are killed, each of which she asks again afterwards.

        Returns how many calls of each conversation may be missing in the ledger.
        """
        turns = []
        for number in range(kills):
            name = self.begin("killed", "alice")
            kind = self.rng.choice(["statement", "event"])
            turns.append([name, f"{truth.tag(name)} [[words:4]]", kind, self.rng.randrange(1, 9) if number else 5])
        environment = {
            **os.environ,
            "DEBUG": "true",
            "DATABASE_URL": database_url(),
            "DATA_DIR": str(data_dir),
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator.url,
            "TURN_LEASE_SECONDS": "1",
            "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
        }
        user = User.objects.get(username="alice").pk
        command = [sys.executable, "-m", "tests.ledger.killed_turns", user]
        done = forking.run(
            command,
            cwd=ROOT,
            env=environment,
            sent=json.dumps(turns),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        time.sleep(1.2)  # the leases of the killed turns are over
        for name, text, *_ in turns:
            self.send(name, text, {"message_id": f"killed-{name}"})
        return dict.fromkeys([name for name, *_ in turns], 1)


def set_budgets() -> None:
    """Budgets of everybody who pays for something, one of which is soon used up."""
    payers = [(PayerKind.USER, user.pk) for user in User.objects.all()]
    payers += [(PayerKind.GROUP, "staff"), (PayerKind.GROUP, "others"), (PayerKind.BOT, "helper")]
    payers += [(PayerKind.KEY, key.pk) for key in ApiKey.objects.all()]
    for kind, payer_id in payers:
        for unit in Unit:
            budget(payer_id, "1000000", kind=kind, unit=unit, period=Period.DAY, is_hard=unit == Unit.TOKENS)
    budget("others", "1500", kind=PayerKind.GROUP, period=Period.MONTH)
