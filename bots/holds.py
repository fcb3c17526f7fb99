"""What operators say of a bot's data: that nothing of it goes for now, and how long conversations with it are kept.

A bot may be gone: conversations with it are still there, and its id is never given again.
"""

from bedrock_chat.identity.caller import Actor
from bedrock_chat.retention import holds, policies
from bedrock_chat.retention.models import Hold, HoldKind
from bots import access, verbs
from bots.models import Bot, TakenBotId


def hold_bot(bot_id: str, *, reason: str, actor: Actor) -> Hold:
    """Puts a bot on hold, or changes the reason. Raises NotFound, and BadRequest for a reason that is none."""

    def refuse_unknown() -> None:
        _refuse_unknown(bot_id)

    return holds.place(HoldKind.BOT, bot_id, reason, verbs.HOLD, refuse_unknown=refuse_unknown, actor=actor)


def release_bot(bot_id: str, *, actor: Actor) -> None:
    """Ends the hold on a bot: the policies apply again. Raises NotFound where there is none."""
    holds.lift(HoldKind.BOT, bot_id, verbs.RELEASE, actor=actor)


def set_retention(bot_id: str, days: int | None, *, actor: Actor) -> None:
    """Sets how many days conversations with a bot are kept, whatever RETENTION_DAYS says; None: for ever.

    Raises NotFound, and BadRequest for a number that makes no sense.
    """
    _refuse_unknown(bot_id)
    policies.set_bot_days(bot_id, days, verbs.SET_RETENTION, actor=actor)


def remove_retention(bot_id: str, *, actor: Actor) -> None:
    """Conversations with a bot are kept as all others are. Raises NotFound where the bot has no policy of its own."""
    policies.remove_bot_days(bot_id, verbs.REMOVE_RETENTION, actor=actor)


def refuse_erasing(user_id: str) -> None:
    """Raises OnHold for a person who owns a bot on hold, which would be deleted with them."""
    on_hold = Hold.objects.filter(kind=HoldKind.BOT).values("target_id")
    bot_id = Bot.objects.filter(owner=user_id, pk__in=on_hold).values_list("pk", flat=True).first()
    if bot_id is not None:
        holds.refuse(HoldKind.BOT, bot_id)


def _refuse_unknown(bot_id: str) -> None:
    if not TakenBotId.objects.filter(pk=bot_id).exists():
        raise access.no_bot(bot_id)
