"""The people and groups of the Cognito pool, through boto3."""

import logging
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import botocore.config
import botocore.exceptions
import botocore.parsers
from django.conf import settings

from bedrock_chat.bedrock import clients, connections, faults
from bedrock_chat.bedrock.bounded_calls import CONNECT_SECONDS, bounded, probing
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity.directory.types import MOST_GROUPS, MOST_PEOPLE, DirectoryUnavailable, Group, Person
from bedrock_chat.resilience.deadlines import within
from bedrock_chat.resilience.dependencies import Dependency

logger = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Requests of this process that ask Cognito at a time. It answers few a second anyway."""
QUEUE_SECONDS: Final = 2.0
CREDENTIALS_SECONDS: Final = 5.0
WITHOUT_CREDENTIALS_SECONDS: Final = 60.0
"""How long a process that found no credentials goes without, before it looks for them again."""
PAGE: Final = 60
MOST_PAGES: Final = 20
"""Groups of a page, the most that Cognito gives, and pages that one search reads."""
LONGEST_NAME: Final = 128

_places = threading.BoundedSemaphore(AT_ONCE)


@dataclass(frozen=True, slots=True)
class Pool:
    """A user pool. All of its methods raise DirectoryUnavailable."""

    id: str
    client: Any

    def people(self, prefix: str) -> list[Person]:
        """At most MOST_PEOPLE whose address or name begins with the prefix, as it was typed or in lower case."""
        people: dict[str, Person] = {}
        with _asking(self.id):
            for attribute in ("email", "name"):
                for value in dict.fromkeys((prefix, prefix.lower())):
                    for person in self._list(f"{attribute} ^= {_quoted(value)}"):
                        people.setdefault(person.id, person)
                    if len(people) >= MOST_PEOPLE:
                        return list(people.values())[:MOST_PEOPLE]
        return list(people.values())

    def groups(self, prefix: str) -> list[Group]:
        """At most MOST_GROUPS whose name begins with the prefix in any case, in the pool's order."""
        matching: list[Group] = []
        following: dict[str, str] = {}
        with _asking(self.id):
            for _ in range(MOST_PAGES):
                page = self.client.list_groups(UserPoolId=self.id, Limit=PAGE, **following)
                groups = [Group(group["GroupName"], group.get("Description", "")) for group in _part(page, "Groups")]
                matching += [group for group in groups if group.begins_with(prefix)]
                if len(matching) >= MOST_GROUPS or not page.get("NextToken"):
                    return matching[:MOST_GROUPS]
                following = {"NextToken": page["NextToken"]}
        logger.warning("The pool has more than %d groups; the others are not found.", PAGE * MOST_PAGES)
        return matching

    def person(self, person_id: str, *, name: str) -> Person | None:
        """The person of that id, who is thought to have that user name.

        Cognito also finds by aliases, such as an address. They are no ids, so such an answer does not count.
        """
        if len(person_id) > LONGEST_NAME or len(name) > LONGEST_NAME:
            return None
        with _asking(self.id):
            candidates = self._named(name)
            if not candidates and _SUBJECT.fullmatch(person_id):
                candidates = self._list(f"sub = {_quoted(person_id)}")  # somebody whose user name is another
        return next((person for person in candidates if person_id in (person.id, person.name)), None)

    def _named(self, name: str) -> list[Person]:
        try:
            answer = self.client.admin_get_user(UserPoolId=self.id, Username=name)
        except botocore.exceptions.ClientError as error:
            if _code(error) in (_NO_USER, _INVALID):
                return []
            raise
        return [_person(_part(answer, "Username"), _part(answer, "UserAttributes"))]

    def _list(self, condition: str) -> list[Person]:
        try:
            answer = self.client.list_users(UserPoolId=self.id, Filter=condition, Limit=MOST_PEOPLE)
        except botocore.exceptions.ClientError as error:
            if _code(error) != _INVALID:
                raise
            logger.warning("The pool does not take every search: %s.", _INVALID)
            return []
        return [_person(user["Username"], user.get("Attributes", [])) for user in _part(answer, "Users")]


_NO_USER: Final = "UserNotFoundException"
_INVALID: Final = "InvalidParameterException"
"""For what nobody can be called, such as a name of control characters."""
_SUBJECT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _code(error: botocore.exceptions.ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")


def _part(answer: dict[str, Any], name: str) -> Any:
    """What every answer of Cognito has. botocore takes any other JSON for an empty one."""
    if name not in answer:
        raise botocore.parsers.ResponseParserError(f"There is no {name} in the answer.")
    return answer[name]


def _quoted(value: str) -> str:
    """The value as a string of Cognito's filters."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _person(username: str, attributes: list[dict[str, str]]) -> Person:
    values = {attribute["Name"]: attribute.get("Value", "") for attribute in attributes}
    return Person(values.get("sub", username), username, values.get("email", ""))


# ---- The client -----------------------------------------------------------------------------------------------------

_lock = threading.Lock()
_client: Any = None
_missing_until = float("-inf")


def pool() -> Pool | None:
    """The pool of the settings. None without one, and for a server that has no AWS credentials to ask it with.

    The caller is about to ask it, so the thread's database connection is released. Raises DirectoryUnavailable where
    nobody can tell whether there are credentials.
    """
    if not settings.COGNITO_USER_POOL_ID:
        return None
    release_connection()
    client = _client or _made_client()
    return None if client is None else Pool(settings.COGNITO_USER_POOL_ID, client)


def _made_client() -> Any:
    """The process's only client, made at first use. None if there are no credentials."""
    global _client, _missing_until  # noqa: PLW0603  one client per process
    if not _lock.acquire(timeout=QUEUE_SECONDS):
        raise DirectoryUnavailable
    try:
        if _client is None and time.monotonic() >= _missing_until:
            session = clients.new_session()
            # From the environment, a profile or the machine's role. A program that a profile names may take long.
            if within(CREDENTIALS_SECONDS, session.get_credentials) is None:
                _missing_until = time.monotonic() + WITHOUT_CREDENTIALS_SECONDS
                logger.warning("Without AWS credentials only people seen here are found, not the pool's.")
            else:
                _client = _make(session)
        return _client
    except (botocore.exceptions.BotoCoreError, OSError) as error:
        logger.error("There are no AWS credentials: %s. Look at the server's profile or role.", type(error).__name__)  # noqa: TRY400
        raise DirectoryUnavailable from error
    finally:
        _lock.release()


def reset() -> None:
    """Closes the client and drops it, so that the next search makes one from the current settings."""
    global _client, _missing_until
    with _lock:
        client, _client, _missing_until = _client, None, float("-inf")
    if client is not None:
        client.close()


def _make(session: Any) -> Any:
    timeout = settings.DIRECTORY_TIMEOUT
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 2},
        connect_timeout=min(CONNECT_SECONDS, timeout),
        read_timeout=timeout,
        max_pool_connections=AT_ONCE,
        user_agent=clients.USER_AGENT,
    )
    client = session.client("cognito-idp", region_name=settings.AWS_REGION, config=config)
    connections.install(client)
    return client


# ---- Faults ---------------------------------------------------------------------------------------------------------


def _probe() -> None:
    """Asks the pool for a group. Raises if there is no answer; one that refuses is an answer."""
    if (user_pool := pool()) is None:
        return
    with probing(DIRECTORY):
        user_pool.client.list_groups(UserPoolId=user_pool.id, Limit=1)


DIRECTORY: Final = Dependency("The directory of people", _probe)

_REMEDIES: Final[dict[type[faults.ModelFault], str]] = {
    faults.NoCredentials: "AWS does not accept this server's credentials: renew them.",
    faults.AccessDenied: "Allow this server's role cognito-idp:ListUsers, ListGroups and AdminGetUser on the pool.",
    faults.UnknownModel: "There is no such pool: look at COGNITO_USER_POOL_ID and AWS_REGION.",
}


@contextmanager
def _asking(pool_id: str) -> Iterator[None]:
    """Around the calls of one request. Whatever keeps Cognito from answering becomes DirectoryUnavailable."""
    try:
        with bounded(
            DIRECTORY,
            seconds=settings.DIRECTORY_TIMEOUT,
            places=_places,
            queue_seconds=QUEUE_SECONDS,
            refusal=DirectoryUnavailable,
        ):
            yield
    except (
        botocore.exceptions.ClientError,
        botocore.exceptions.BotoCoreError,
        botocore.parsers.ResponseParserError,
    ) as error:
        fault = clients.fault_of(error)
        if not isinstance(fault, faults.Throttled):
            remedy = next((words for kind, words in _REMEDIES.items() if isinstance(fault, kind)), "")
            code = _code(error) if isinstance(error, botocore.exceptions.ClientError) else type(error).__name__
            logger.error("The pool %s refuses to be searched: %s. %s", pool_id, code, remedy)  # noqa: TRY400
        raise DirectoryUnavailable from error
