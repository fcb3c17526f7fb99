"""Finds people and groups: in the Cognito pool where this server has one and AWS credentials, else among those seen
here.
"""

from bedrock_chat.database.text import is_storable
from bedrock_chat.identity.directory import cognito, seen
from bedrock_chat.identity.directory.types import MOST_PEOPLE, Group, Person


def people(prefix: str) -> list[Person]:
    """At most MOST_PEOPLE whose name or address begins with the prefix: the pool's, then others who were seen here.

    A blank prefix finds nobody. Raises DirectoryUnavailable.
    """
    if not _is_searchable(prefix):
        return []
    pool = cognito.pool()
    people_by_id = {person.id: person for person in (pool.people(prefix) if pool else [])}
    if len(people_by_id) < MOST_PEOPLE:
        for person in seen.people(prefix):
            people_by_id.setdefault(person.id, person)
    return list(people_by_id.values())[:MOST_PEOPLE]


def groups(prefix: str) -> list[Group]:
    """At most MOST_GROUPS whose name begins with the prefix in any case, in the directory's order.

    A blank prefix finds none. Raises DirectoryUnavailable.
    """
    if not _is_searchable(prefix):
        return []
    pool = cognito.pool()
    return pool.groups(prefix) if pool else seen.groups(prefix)


def person(person_id: str) -> Person | None:
    """Raises DirectoryUnavailable."""
    if not is_storable(person_id):
        return None
    known = seen.person(person_id)
    pool = cognito.pool()
    of_pool = pool.person(person_id, name=known.name if known else person_id) if pool else None
    return of_pool or known


def _is_searchable(prefix: str) -> bool:
    return bool(prefix.strip()) and is_storable(prefix)
