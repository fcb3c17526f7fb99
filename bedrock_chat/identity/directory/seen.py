"""People who have signed in here, and the groups of their last tokens."""

import re
from typing import Final

from django.db import connection
from django.db.models import Q

from bedrock_chat.identity.directory.types import MOST_GROUPS, MOST_PEOPLE, Group, Person
from bedrock_chat.identity.models import User

MOST_GROUPS_READ: Final = 10_000
"""A Cognito pool has no more."""


def people(prefix: str) -> list[Person]:
    """The first by name whose user name, address or login begins with the prefix, in any case."""
    lookup, value = _beginning(prefix)
    matches = Q(**{f"username__{lookup}": value}) | Q(**{f"email__{lookup}": value}) | Q(**{f"login__{lookup}": value})
    users = User.objects.filter(matches).order_by("username", "id")
    return [_person(user) for user in users.only("username", "email")[:MOST_PEOPLE]]


def person(person_id: str) -> Person | None:
    user = User.objects.filter(pk=person_id).only("username", "email").first()
    return None if user is None else _person(user)


def groups(prefix: str) -> list[Group]:
    """The first by name that begin with the prefix. The database picks the names out of everybody's lists."""
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS[connection.vendor], [MOST_GROUPS_READ])
        every = [Group(name) for (name,) in cursor.fetchall()]
    return [group for group in every if group.begins_with(prefix)][:MOST_GROUPS]


def _beginning(prefix: str) -> tuple[str, str]:
    """Lookup and value. SQLite's LIKE folds ASCII letters alone; others are left to a regular expression of Python."""
    if connection.vendor == "sqlite" and not prefix.isascii():
        return "iregex", f"^{re.escape(prefix)}"
    return "istartswith", prefix


def _person(user: User) -> Person:
    return Person(user.pk, user.username or user.pk, user.email)


_TABLE: Final = User._meta.db_table
_GROUPS: Final = {
    "postgresql": f"""
        SELECT DISTINCT name COLLATE "C" AS name
        FROM {_TABLE}
        CROSS JOIN LATERAL jsonb_array_elements_text(
            CASE jsonb_typeof(token_groups) WHEN 'array' THEN token_groups ELSE '[]' END
        ) AS names (name)
        ORDER BY name LIMIT %s
    """,  # noqa: S608  a name of ours
    "sqlite": f"""
        SELECT DISTINCT names.value AS name
        FROM {_TABLE}, json_each({_TABLE}.token_groups) AS names
        WHERE names.type = 'text'
        ORDER BY name LIMIT %s
    """,  # noqa: S608
}
