"""A bot's owner: giving a bot to somebody else, with all that belongs to it."""

from collections.abc import Callable

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from bedrock_chat.audit import recording
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.identity.models import User
from bedrock_chat.retention import holds
from bedrock_chat.retention.models import HoldKind
from bedrock_chat.wire.errors import BadRequest, Conflict, NotFound
from bots import access, verbs
from bots.models import Bot, BotAlias

Move = Callable[[Bot, Actor], None]
"""Gives the new owner of a locked bot, which it has already, what another app has of it, in the same transaction."""

_moves: list[Move] = []


def with_bot(move: Move) -> None:
    """Registers what moves along. Apps that build on bots call it in `apps.ready`."""
    _moves.append(move)


def transfer(bot_id: str, owner_id: str, *, actor: Caller) -> Bot:
    """Gives a bot to another owner, by Admin: its versions, files and what other apps have of it go along.

    Its scope and its people stay, so the old owner keeps what sharing gives them. What was paid stays with who paid it.
    Secrets work on: nobody reads a tool's key, and the new owner may replace it.

    Raises Forbidden, NotFound for an unknown bot, OnHold where the bot or its owner is on hold, since the hold on them
    keeps what would go along, and what `_new_owner` raises.
    """
    with transaction.atomic():
        holds.lock()
        bot = access.get_as_admin(actor, bot_id, lock=True)
        former_id = bot.owner_id
        if former_id == owner_id:
            raise BadRequest("The bot is theirs already.")
        holds.refuse_person(former_id)
        holds.refuse(HoldKind.BOT, bot_id)
        bot.owner = _new_owner(owner_id)
        bot.is_indexed = False
        bot.save(update_fields=["owner", "is_indexed"])
        BotAlias.objects.filter(bot=bot).update(bot_owner_id=owner_id)
        for move in _moves:
            move(bot, actor)
        values = {"from_owner": [former_id], "to_owner": [owner_id]}
        recording.record(verbs.TRANSFER, bot_id, actor=actor, fields=["owner"], values=values)
    return bot


def find_person(text: str) -> User:
    """The person of an id, a name or an address, for operators. Raises NotFound, and Conflict for several of them."""
    text = text.strip()
    people = list(User.objects.filter(Q(pk=text) | Q(username=text) | Q(email__iexact=text)).order_by("pk")[:3])
    exact = [person for person in people if person.pk == text]
    if exact or len(people) == 1:
        return (exact or people)[0]
    if people:
        raise Conflict("Several people have this name or address; take the id of one.")
    raise NotFound("Nobody of this id, name or address has signed in here yet.")


def _new_owner(owner_id: str) -> User:
    """The person, whose row is locked: they are not erased meanwhile.

    Raises NotFound, and BadRequest for somebody who is suspended or has as many bots as one may have.
    """
    owner = User.objects.select_for_update(no_key=True).filter(pk=owner_id).first()
    if owner is None:
        raise NotFound("There is no such person.")
    if not owner.is_active:
        raise BadRequest("This person is suspended; bots are given to people who may sign in.")
    if Bot.objects.filter(owner=owner).count() >= settings.BOTS_PER_USER:
        raise BadRequest(f"This person has {settings.BOTS_PER_USER} bots, as many as one may have.")
    return owner
