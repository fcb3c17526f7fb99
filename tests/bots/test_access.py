"""The rules of who may use a bot and whose lists show it: for a query and for one bot they are the same."""

import os
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedrock_chat.identity import local
from bedrock_chat.identity.caller import ADMIN, Caller
from bots import access
from bots.content import Content, write
from bots.models import Bot, BotGrant, Grantee, Scope

SLOW = bool(os.environ.get("SLOW"))
EXAMPLES = 200 if os.environ.get("WHOLE") else 100 if SLOW else 15
pytestmark = [pytest.mark.django_db, pytest.mark.both, *([pytest.mark.slow] if SLOW else [])]

NAMES = ("alice", "bob", "carol")
GROUPS = ("sales", "support", "Sales", ADMIN)
GRANTS = st.sets(
    st.tuples(st.just(Grantee.USER), st.sampled_from([*NAMES, "sales", "unknown"]))
    | st.tuples(st.just(Grantee.GROUP), st.sampled_from([*GROUPS, "alice"])),
    max_size=4,
)
BOTS = st.lists(
    st.fixed_dictionaries({"owner": st.sampled_from(NAMES), "scope": st.sampled_from(Scope), "grants": GRANTS}),
    min_size=1,
    max_size=5,
)
CALLERS = st.lists(
    st.tuples(st.sampled_from([*NAMES, None]), st.frozensets(st.sampled_from(GROUPS), max_size=2)),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(bots=BOTS, callers=CALLERS)
def test_what_a_query_finds_is_what_each_bot_allows(db: None, bots: list[dict[str, Any]], callers: list[Any]) -> None:
    ids = {name: local.local_user(name).pk for name in NAMES}
    with transaction.atomic():
        rows = stored(bots, ids)
        for name, groups in callers:
            actor = Caller(
                user_id=ids.get(name), groups=groups, **({} if name else {"publication_id": "p", "key_id": "k"})
            )
            usable, listed = Bot.objects.usable_by(actor), Bot.objects.listed_for(actor)
            named = {(Grantee.USER, name), *((Grantee.GROUP, group) for group in groups)}
            for row, bot in zip(rows, bots, strict=True):
                is_granted = bool(named & bot["grants"])
                may_use = access.may_use(actor, row, is_granted=is_granted)
                is_listed = access.is_listed(actor, row, is_granted=is_granted)
                assert (row in usable, row in listed) == (may_use, is_listed)
                # The same in words of the contract:
                is_shared = bot["scope"] == Scope.ALL or (bot["scope"] == Scope.PARTIAL and is_granted)
                assert is_listed == (name is not None and (bot["owner"] == name or is_shared))
                assert may_use == (is_listed or (name is not None and ADMIN in groups))
                known = access.find(actor, row.pk)
                assert known is not None
                assert known.is_granted == is_granted or name is None
        transaction.set_rollback(True)


def stored(bots: list[dict[str, Any]], ids: dict[str, str]) -> list[Bot]:
    """The rows of these bots, without their versions."""
    rows, grants = [], []
    for number, bot in enumerate(bots):
        moment = timezone.now()
        row = Bot(
            id=f"bot-{number}", owner_id=ids[bot["owner"]], scope=bot["scope"], created_at=moment, updated_at=moment
        )
        write(Content(title="A bot"), row)
        rows.append(row)
        for kind, grantee in sorted(bot["grants"]):
            is_known = kind == Grantee.USER and grantee in ids
            grants.append(BotGrant(bot=row, kind=kind, grantee=ids[grantee] if is_known else grantee))
    Bot.objects.bulk_create(rows)
    BotGrant.objects.bulk_create(grants)
    return rows
