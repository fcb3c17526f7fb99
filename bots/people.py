"""Who may look for people and groups, to share bots with them, and learn who somebody is."""

from django.conf import settings

from bedrock_chat.identity import rates
from bedrock_chat.identity.caller import CREATING_BOT_ALLOWED, Caller
from bedrock_chat.identity.directory import finding
from bedrock_chat.identity.directory.types import Group, Person
from bedrock_chat.wire.errors import Forbidden, NotFound
from bots.models import Bot, BotGrant, Grantee, Scope


def search_people(prefix: str, *, actor: Caller) -> list[Person]:
    """The first people whose name or address begins so. Raises Forbidden, TooManyRequests and DirectoryUnavailable."""
    if not _may_search(actor):
        raise Forbidden("Search for people is open to those who may create bots.")
    _count(actor)
    return finding.people(prefix)


def search_groups(prefix: str, *, actor: Caller) -> list[Group]:
    """The first groups whose name begins so. Raises Forbidden, TooManyRequests and DirectoryUnavailable."""
    if not _may_search(actor):
        raise Forbidden("Search for groups is open to those who may create bots.")
    _count(actor)
    return finding.groups(prefix)


def find_person(person_id: str, *, actor: Caller) -> Person:
    """The person of that id. Raises NotFound, TooManyRequests and DirectoryUnavailable.

    Who may not search learns only of people that a bot has brought them together with.
    """
    _count(actor)
    person = finding.person(person_id) if _may_search(actor) or _share_a_bot(actor, person_id) else None
    if person is None:
        raise NotFound("There is no such person.")
    return person


def _may_search(actor: Caller) -> bool:
    return actor.is_in(CREATING_BOT_ALLOWED)


def _share_a_bot(actor: Caller, person_id: str) -> bool:
    """Whether the person owns a bot that the caller may use, or the caller one that is shared with the person by id."""
    if Bot.objects.usable_by(actor).filter(owner=person_id).exists():
        return True
    grants = BotGrant.objects.filter(kind=Grantee.USER, grantee=person_id)
    return grants.filter(bot__owner=actor.user_id, bot__scope=Scope.PARTIAL).exists()


def _count(actor: Caller) -> None:
    rates.count(
        "searches for people",
        by=actor.account,
        rate=settings.DIRECTORY_RATE,
        refusal="Too many searches for people and groups; try again later.",
    )
