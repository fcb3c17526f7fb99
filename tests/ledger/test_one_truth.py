"""Whatever people ask and whatever goes wrong: the ledger, the sums and the budgets say what Bedrock has counted."""

import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from django.conf import settings as django_settings

from bedrock_chat.ledger import recording
from bedrock_chat.ledger.budgets.models import BudgetCounter
from bedrock_chat.ledger.models import ModelCall, Purpose
from publication.models import TurnRequest
from tests.conversations.chat import payload
from tests.conversations.test_crash import database_url
from tests.emulator import Emulator
from tests.jobs.conftest import Workshop
from tests.ledger import truth
from tests.ledger.world import World
from tests.live import LiveServer
from tests.people import token_for
from tests.publication.api import question
from tests.together import wait_for

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(("acts", "kills"), [(16, 3), pytest.param(250, 24, marks=pytest.mark.slow)])
def test_the_ledger_the_sums_and_the_budgets_say_what_bedrock_has_counted(
    world: World, emulator: Emulator, tmp_path: Path, acts: int, kills: int
) -> None:
    emulator.reset()
    for act in (world.break_off, world.break_off, world.go_on, world.title, world.publish, world.complete):
        act()  # each at least once
    for _ in range(acts // 2):
        world.act()
    lost = world.kill(emulator, kills, tmp_path)
    for _ in range(acts // 2):
        world.act()
    asked_for = truth.tokens_asked(emulator, world.conversations)
    for row in ModelCall.objects.filter(conversation_external_id__startswith="openai/"):
        world.conversations["completions"] = "completions"
        ModelCall.objects.filter(pk=row.pk).update(conversation_external_id="completions")
    truth.assert_ledger_has(asked_for, world.conversations, lost)
    assert set(ModelCall.objects.values_list("purpose", flat=True)) == {Purpose.TURN, Purpose.TITLE}
    assert ModelCall.objects.filter(estimated=True).exists()
    assert ModelCall.objects.exclude(fault="").exists()
    assert ModelCall.objects.filter(cache_read_tokens__gt=0).exists()
    assert BudgetCounter.objects.filter(used__gt=0).count() > 10
    truth.assert_budgets_are_the_ledgers()
    truth.assert_sums_are_the_ledgers()


CLIENTS, ROUNDS, ANSWERS, PATIENCE = 6, 1, 10, 30.0
WORDS = ("", "[[wait:0.3]]", "[[words:20]] [[pace:0.02]]", "[[throttle:1]]", "[[cut:after:3:times:1]] [[words:9]]")


class Office:
    """A server and a worker as processes on the test's database, and clients that ask until these are killed."""

    def __init__(self, world: World, emulator: Emulator, folder: Path) -> None:
        self.world = world
        self.folder = folder
        secrets = {"ENCRYPTION_KEYS": django_settings.ENCRYPTION_KEYS[0], "TURN_LEASE_SECONDS": "2"}
        self.workshop = Workshop(database_url(), folder)
        self.workshop.environment |= {
            **secrets,
            "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": emulator.url,
        }
        self.emulator = emulator
        self.environment = {"DATABASE_URL": database_url(), **secrets, "JOB_LEASE_SECONDS": "2"}
        self.token = token_for("alice", "staff")
        self.lost: Counter[str] = Counter()
        self.answered: list[str] = []

    def open(self, seed: int) -> None:
        """Everybody asks until some have been answered; then server and worker are killed, whatever they do."""
        goal = len(self.answered) + ANSWERS
        worker = self.workshop.work("--concurrency", "4")
        with LiveServer(self.folder, self.emulator.url, **self.environment) as server:
            until = time.monotonic() + 2 * PATIENCE
            with ThreadPoolExecutor(CLIENTS) as pool:
                asking = [
                    pool.submit(self.ask_until, until, server.url, seed * CLIENTS + number) for number in range(CLIENTS)
                ]
                wait_for(lambda: len(self.answered) >= goal, seconds=PATIENCE)
                worker.send_signal(signal.SIGKILL)
                server.process.send_signal(signal.SIGKILL)
            for future in asking:
                future.result()

    def ask_until(self, until: float, url: str, seed: int) -> None:
        rng, number = random.Random(seed), 0
        with httpx.Client(base_url=url, timeout=30) as client:
            while time.monotonic() < until:
                kind, number = rng.choice(["own", "own", "published"]), number + 1
                name = f"{kind}-{seed}-{number}"
                self.world.conversations[name] = name
                text = f"{truth.tag(name)} {rng.choice(WORDS)}"
                try:
                    if self.send(client, kind, name, text):
                        self.answered.append(name)
                except httpx.HTTPError:
                    self.lost[name] += kind == "own"
                    return

    def send(self, client: httpx.Client, kind: str, name: str, text: str) -> bool:
        if kind == "own":
            headers = {"Authorization": f"Bearer {self.token}"}
            response = client.post("/conversation", json=payload(name, text), headers=headers)
        else:
            sent = question(text, conversationId=name)
            response = client.post(
                f"{self.world.api.path}/conversation", json=sent, headers={"x-api-key": self.world.api.key}
            )
        assert response.status_code in (200, 502, 503), response.text
        return response.status_code == 200

    def finish(self) -> None:
        """A worker answers what was accepted."""
        worker = self.workshop.work("--concurrency", "4")
        self.workshop.until(lambda: not TurnRequest.objects.filter(done_at__isnull=True).exists(), seconds=60)
        worker.terminate()
        worker.wait(timeout=30)


@pytest.fixture
def office(world: World, emulator: Emulator, tmp_path: Path) -> Iterator[Office]:
    office = Office(world, emulator, tmp_path)
    yield office
    office.workshop.end()


@pytest.mark.slow
def test_so_they_do_when_servers_and_workers_are_killed_at_work(office: Office, emulator: Emulator) -> None:
    """A call that was under way may be missing: as a row, or, of a published turn, what its row would say of usage."""
    emulator.reset()
    for number in range(ROUNDS):
        office.open(number)
    office.finish()
    asked_for = truth.tokens_asked(emulator, office.world.conversations)
    for row in ModelCall.objects.filter(fault=recording.PROCESS_LOST):
        office.lost[row.conversation_external_id] += 1
    truth.assert_ledger_has(asked_for, office.world.conversations, office.lost)
    assert len(office.answered) >= ANSWERS * ROUNDS
    assert sum(office.lost.values()) > 0
    assert ModelCall.objects.filter(fault="", publication_id__isnull=False).count() > ROUNDS
    truth.assert_budgets_are_the_ledgers()
    truth.assert_sums_are_the_ledgers()
