"""Guardrails as Bedrock keeps them: made, changed, given versions and deleted. For jobs; turns only name one.

Every call ends within CALL_SECONDS, and raises a `faults.ModelFault`. Nothing is tried again here: jobs do that. While
Bedrock does not answer it is left alone, and few jobs wait for it at a time: a worker has others to do.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bedrock_chat.bedrock import clients, faults
from bedrock_chat.bedrock.bounded_calls import UNREACHABLE, in_time, probing
from bedrock_chat.resilience.dependencies import Away, Dependency

CALL_SECONDS: Final = 20.0
AT_ONCE: Final = 2
"""Jobs of this process that wait for Bedrock at a time."""
QUEUE_SECONDS: Final = 2.0
PAGE: Final = 1000
DRAFT: Final = "DRAFT"
READY: Final = "READY"
FAILED: Final = "FAILED"
BLOCKED_QUESTION: Final = "This message was blocked by the bot's guardrail."
BLOCKED_ANSWER: Final = "The answer was blocked by the bot's guardrail."
UNKNOWN: Final = "ResourceNotFoundException"
NO_ROOM: Final = "ServiceQuotaExceededException"
BUSY: Final = frozenset({"ConflictException", "ResourceInUseException"})
"""Codes of what Bedrock does not do while a guardrail is being changed."""

_places = threading.BoundedSemaphore(AT_ONCE)


def _probe() -> None:
    """Asks for a list of one guardrail."""
    client = clients.bedrock()
    with probing(GUARDRAILS):
        client.list_guardrails(maxResults=1)


GUARDRAILS: Final = Dependency("Bedrock guardrails", _probe)

Filters = Mapping[str, str | float]
"""Kind of content, such as HATE → how strictly it is blocked: LOW, MEDIUM or HIGH.

GROUNDING and RELEVANCE → the share, over 0 and below 1, below which an answer is blocked: of what it says, how much
rests on the passages that it was given, and how much is about the question.
"""
SHARES: Final = frozenset({"GROUNDING", "RELEVANCE"})


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A guardrail, in its draft or in one of its versions."""

    arn: str
    status: str
    reasons: tuple[str, ...]
    filters: dict[str, str | float]


@dataclass(frozen=True, slots=True)
class Entry:
    """A guardrail in the list of all."""

    arn: str
    name: str
    created_at: datetime


def create(name: str, filters: Filters, *, tags: Mapping[str, str], token: str) -> str:
    """Has a guardrail made, and returns its ARN. It is not READY yet. The same token makes no other one."""
    with _asking() as client:
        made = client.create_guardrail(
            **_settings(name, filters),
            tags=[{"key": key, "value": value} for key, value in tags.items()],
            clientRequestToken=token,
        )
    return str(made["guardrailArn"])


def update(arn: str, name: str, filters: Filters) -> None:
    """Has the draft changed. Versions stay as they are."""
    with _asking() as client:
        client.update_guardrail(guardrailIdentifier=arn, **_settings(name, filters))


def get(arn: str, version: str = DRAFT) -> Guardrail | None:
    """A guardrail's draft or a version of it; None if there is none."""
    try:
        with _asking() as client:
            guardrail = client.get_guardrail(guardrailIdentifier=arn, guardrailVersion=version)
    except faults.ModelFault as fault:
        if fault.code == UNKNOWN:
            return None
        raise
    of_content = guardrail.get("contentPolicy", {}).get("filters", ())
    of_grounding = guardrail.get("contextualGroundingPolicy", {}).get("filters", ())
    return Guardrail(
        guardrail["guardrailArn"],
        guardrail["status"],
        tuple(guardrail.get("statusReasons", ())),
        {
            **{entry["type"]: entry["inputStrength"] for entry in of_content},
            **{entry["type"]: float(entry["threshold"]) for entry in of_grounding},
        },
    )


def create_version(arn: str, *, token: str) -> str:
    """Has the draft kept as a version, and returns its number. The same token makes no other one."""
    with _asking() as client:
        return str(client.create_guardrail_version(guardrailIdentifier=arn, clientRequestToken=token)["version"])


def versions(arn: str) -> list[str]:
    """The numbers of a guardrail's versions."""
    return [entry["version"] for entry in _listed(guardrailIdentifier=arn) if entry["version"] != DRAFT]


def delete(arn: str, version: str | None = None) -> None:
    """Deletes a version, or the guardrail with all of its versions. One that is gone already is fine."""
    of_version = {} if version is None else {"guardrailVersion": version}
    try:
        with _asking() as client:
            client.delete_guardrail(guardrailIdentifier=arn, **of_version)
    except faults.ModelFault as fault:
        if fault.code != UNKNOWN:
            raise


def every() -> Iterator[Entry]:
    """All guardrails of the account in this region, whoever made them."""
    for entry in _listed():
        yield Entry(entry["arn"], entry["name"], entry["createdAt"])


def tags(arn: str) -> dict[str, str]:
    with _asking() as client:
        entries = client.list_tags_for_resource(resourceARN=arn).get("tags", ())
    return {tag["key"]: tag["value"] for tag in entries}


def _listed(**options: str) -> Iterator[dict[str, Any]]:
    """The entries of all pages, a call each."""
    following: dict[str, str] = {}
    while True:
        with _asking() as client:
            page = client.list_guardrails(maxResults=PAGE, **options, **following)
        yield from page.get("guardrails", ())
        if not page.get("nextToken"):
            return
        following = {"nextToken": page["nextToken"]}


def _settings(name: str, filters: Filters) -> dict[str, Any]:
    """What both of a creation and a change have. A change replaces everything."""
    of_content = [
        {"type": kind, "inputStrength": how, "outputStrength": how}
        for kind, how in sorted(filters.items())
        if kind not in SHARES
    ]
    of_grounding = [{"type": kind, "threshold": share} for kind, share in sorted(filters.items()) if kind in SHARES]
    return {
        "name": name,
        "description": "Made by Bedrock Chat for one of its bots. Changes by hand are overwritten.",
        **({"contentPolicyConfig": {"filtersConfig": of_content}} if of_content else {}),
        **({"contextualGroundingPolicyConfig": {"filtersConfig": of_grounding}} if of_grounding else {}),
        "blockedInputMessaging": BLOCKED_QUESTION,
        "blockedOutputsMessaging": BLOCKED_ANSWER,
    }


@contextmanager
def _asking() -> Iterator[Any]:
    """The client, for one call. Its exceptions become faults; mistakes of our own code are raised as they are.

    Raises Unreachable while Bedrock is away, and Unavailable where too many jobs wait for it already.
    """
    try:
        GUARDRAILS.refuse_while_away()
    except Away:
        raise faults.Unreachable from None
    client = clients.bedrock()
    if not _places.acquire(timeout=QUEUE_SECONDS):
        raise faults.Unavailable
    try:
        with in_time(CALL_SECONDS, GUARDRAILS):
            yield client
    except Exception as error:
        fault = faults.TimedOut() if isinstance(error, TimeoutError) else clients.fault_of(error)
        if isinstance(error, UNREACHABLE):
            GUARDRAILS.failed(error)
            fault = fault or faults.ConnectionCut()
        if fault is None:
            raise
        raise fault from error
    finally:
        _places.release()
    GUARDRAILS.answered()
