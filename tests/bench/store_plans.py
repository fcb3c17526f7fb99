"""Prints what the database plans for the store's statements, in the server's environment, as one JSON line."""

import json

import django

django.setup()

from django.db import connection  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from bedrock_chat.identity import local  # noqa: E402
from bedrock_chat.identity.caller import Caller  # noqa: E402
from store import ranking, search  # noqa: E402

GROUPS = 3
"""As many as make a statement readable."""


def main() -> None:
    actor = Caller(user_id=local.local_user("grouped").pk, groups=frozenset(f"team-{n:03}" for n in range(GROUPS)))
    lists = {
        "search": lambda: search.search("ba", limit=20, actor=actor),
        "popular": lambda: ranking.popular(limit=20, actor=actor),
        "pickup": lambda: ranking.pickup(limit=20, actor=actor),
    }
    plans = {}
    for name, read in lists.items():
        with CaptureQueriesContext(connection) as captured:
            read()
        plans[name] = [_plan(query["sql"]) for query in captured.captured_queries if query["sql"].startswith("SELECT")]
    print(json.dumps(plans))


def _plan(sql: str) -> list[str]:
    explain = "EXPLAIN (COSTS OFF)" if connection.vendor == "postgresql" else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {sql}")
        return [" ".join(str(row[-1]).split())[:200] for row in cursor.fetchall()]


main()
