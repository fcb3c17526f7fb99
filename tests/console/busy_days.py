"""A month of a busy server: people, bots and keys with English and Japanese names, calls with faults and refusals."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.utils import timezone

from bedrock_chat.identity.models import User
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.ledger.budgets.models import Budget, BudgetCounter
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.ledger.rollups import making
from bedrock_chat.ledger.rollups.models import Refusal
from bedrock_chat.ledger.zones import quarter_of
from bots.models import Bot, SyncStatus
from publication.models import ApiKey, Publication
from tests import build

PEOPLE = {"alice": "Alice", "bob": "Bob", "hanako": "山田 花子", "carol": "Carol"}
BOTS = {"travel": "Travel desk", "keihi": "経費精算アシスタント", "contracts": "Contract reader"}
MODELS = {"claude-v4.5-sonnet": 6, "claude-v4.5-haiku": 5, "amazon-nova-pro": 3, "mistral-large-2": 1}
FAULTS = ["ThrottlingException"] * 3 + ["ModelTimeoutException", "ModelStreamErrorException"]
LIMITS = {"requests_per_user": 40, "budget": 7, "published_quota": 12}


def fill(*, until: datetime | None = None, days: int = 30, a_day: int = 60, with_troubles: bool = True) -> None:
    """Writes all of it, and makes the sums of it."""
    until = until or timezone.now()
    rng = random.Random(17)
    people = [
        User.objects.create(id=key, username=name, email=f"{key}@example.com", password="!", created_at=until)
        for key, name in PEOPLE.items()
    ]
    for number, (key, title) in enumerate(BOTS.items()):
        scope = {"scope": "all", "published_at": until} if number == 0 else {}
        Bot.objects.create(
            id=key, owner=people[number], title=title, created_at=until, updated_at=until, configuration={}, **scope
        )
    api = Publication.objects.create(bot_id="travel", created_at=until)
    common: dict[str, Any] = {"publication": api, "created_at": until, "begun_at": until}
    for name in ("web", "app"):
        ends = {"expires_at": until + timedelta(days=5)} if name == "web" and with_troubles else {}
        ApiKey.objects.create(id=f"key-{name}", lineage=f"key-{name}", digest=name, description=name, **common, **ends)
    calls = [
        _call(rng, until - timedelta(days=day, minutes=rng.randrange(1440)), api.pk)
        for day in range(days)
        for _ in range(a_day + rng.randrange(a_day))
    ]
    calls += [_embedding(until - timedelta(days=day, hours=3), 20_000 * (day + 1)) for day in range(0, days, 2)]
    ModelCall.objects.bulk_create(sorted(calls, key=lambda call: call.created_at))
    Refusal.objects.bulk_create(
        Refusal(start=quarter_of(until - timedelta(days=day)), limit=limit, payer_id="bob", count=count + day)
        for day in range(days)
        for limit, count in LIMITS.items()
    )
    for _ in making.steps(until):
        pass
    _talk(people)
    _work(until, with_troubles=with_troubles)


def _call(rng: random.Random, at: datetime, publication_id: str) -> ModelCall:
    model = rng.choices(list(MODELS), list(MODELS.values()))[0]
    payer = rng.choice(list(PEOPLE))
    is_published = rng.random() < 0.25
    tokens = rng.randrange(200, 6_000)
    fault = rng.choice(FAULTS) if rng.random() < 0.04 else ""
    return ModelCall(
        created_at=at,
        purpose=Purpose.TURN if rng.random() < 0.8 else Purpose.TITLE,
        user_id=None if is_published else payer,
        payer_id="alice" if is_published else payer,
        publication_id=publication_id if is_published else None,
        key_id=rng.choice(["key-web", "key-app"]) if is_published else None,
        bot_id="travel" if is_published else rng.choice([None, *BOTS]),
        conversation_external_id=f"c{rng.randrange(500)}",
        model=model,
        model_id=model,
        region="us-east-1",
        groups=[],
        input_tokens=tokens,
        output_tokens=0 if fault else tokens // 4,
        cache_read_tokens=tokens // 10,
        price=Decimal(tokens * MODELS[model] * 7).scaleb(-7),
        first_token_ms=None if fault else rng.randrange(300, 2_500),
        latency_ms=rng.randrange(900, 9_000),
        stop_reason="" if fault else "end_turn",
        fault=fault,
    )


def _embedding(at: datetime, tokens: int) -> ModelCall:
    """A batch of texts of what a bot knows."""
    return ModelCall(
        created_at=at,
        purpose=Purpose.EMBEDDING,
        user_id="alice",
        payer_id="alice",
        bot_id="keihi",
        conversation_external_id="",
        model="titan_v2",
        model_id="amazon.titan-embed-text-v2:0",
        region="us-east-1",
        groups=[],
        input_tokens=tokens,
        price=Decimal(tokens * 2).scaleb(-8),
        latency_ms=400,
    )


def _talk(people: list[User]) -> None:
    """Conversations, with a bot and without, and what people think of the answers."""
    for number, person in enumerate(people):
        talk = build.conversation(person, title="経費の締め切り" if number % 2 else "Trains to Kyoto", bot_id="travel")
        answer = build.exchange(talk, "いつまでですか。" if number % 2 else "When does the last train leave?")
        comment = "It named a train of last year." if number else "古い規程です。"
        answer.feedback = {"thumbsUp": number == 1, "category": "notFactuallyCorrect", "comment": comment}
        answer.save()


def _work(until: datetime, *, with_troubles: bool) -> None:
    worker = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
    common: dict[str, Any] = {"due_at": until, "created_at": until}
    Worker.objects.create(
        id=worker, host="app-1", process=7, concurrency=8, started_at=until, seen_at=until + timedelta(days=1)
    )
    Job.objects.create(
        kind="index conversations",
        state=State.RUNNING,
        worker=worker,
        **{**common, "due_at": until + timedelta(days=1)},
    )
    if not with_troubles:
        return
    reason = "OSError: the disk was full"
    Job.objects.create(kind="remove blobs", state=State.DEAD, attempt=8, reason=reason, **common)
    Bot.objects.filter(pk="contracts").update(sync_status=SyncStatus.FAILED, sync_status_reason="Bedrock refused it.")
    budget = Budget.objects.create(
        payer_kind="user", payer_id="hanako", unit="usd", period="month", allowance=50 * 10**10, is_hard=True
    )
    BudgetCounter.objects.create(
        budget=budget,
        label=f"{until:%Y-%m}",
        ends_at=until + timedelta(days=20),
        payer_kind="user",
        payer_id="hanako",
        unit="usd",
        period="month",
        is_hard=True,
        allowance=50 * 10**10,
        used=48 * 10**10,
    )
