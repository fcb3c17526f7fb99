"""How long what is kept: settings for all, and an operator's word for conversations with one bot."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction

from bedrock_chat.audit.recording import Change, record
from bedrock_chat.audit.verbs import Verb
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Actor
from bedrock_chat.retention import holds
from bedrock_chat.retention.models import MOST_DAYS, BotRetention
from bedrock_chat.wire.errors import BadRequest, NotFound


@dataclass(frozen=True, slots=True)
class Plan:
    """What is too old at a moment. None, of days: it is kept.

    `days` is of conversations, `bot_days` of those with bots that have a policy of their own, `ledger_days` of calls,
    and `rollup_days` of sums. With `only_bot`, nothing is looked at but conversations with that bot; with `is_named`,
    whoever prunes has named its days, so its own policy does not count.
    """

    now: datetime
    days: int | None
    bot_days: Mapping[str, int | None]
    ledger_days: int | None = None
    rollup_days: int | None = None
    only_bot: str | None = None
    is_named: bool = False

    def as_now(self) -> "Plan":
        """The plan with the policies of bots as they are now. Under the lock of holds they stay so (`set_bot_days`)."""
        return self if self.is_named else replace(self, bot_days=_bot_days())

    def days_of(self, bot_id: str | None) -> int | None:
        """How long conversations with a bot are kept."""
        return self.days if bot_id is None else self.bot_days.get(bot_id, self.days)

    def is_too_old(self, moment: datetime, bot_id: str | None) -> bool:
        """Whether a conversation with that bot that has last changed then is to go."""
        days = self.days_of(bot_id)
        return days is not None and moment < self.before(days)

    def before(self, days: int) -> datetime:
        return self.now - timedelta(days=days)

    @property
    def newest(self) -> datetime | None:
        """Whatever is newer than this stays. None: everything does."""
        lengths = [self.days_of(self.only_bot)] if self.only_bot else [self.days, *self.bot_days.values()]
        shortest = min((days for days in lengths if days is not None), default=None)
        return None if shortest is None else self.before(shortest)


def standing() -> Plan:
    """The policies as they are."""
    return Plan(
        database_now(),
        settings.RETENTION_DAYS or None,
        _bot_days(),
        settings.LEDGER_RETENTION_DAYS or None,
        settings.ROLLUP_RETENTION_DAYS or None,
    )


def of_bot(bot_id: str) -> Plan:
    """The policies as they are, for conversations with one bot."""
    return Plan(database_now(), settings.RETENTION_DAYS or None, _bot_days(), only_bot=bot_id)


def once(days: int, *, bot_id: str | None = None) -> Plan:
    """Conversations that are older than some days, whatever RETENTION_DAYS says.

    A bot's own policy goes before, unless that bot is meant. Calls and sums stay out of it.
    """
    if bot_id is not None:
        return Plan(database_now(), None, {bot_id: days}, only_bot=bot_id, is_named=True)
    return Plan(database_now(), days, _bot_days())


def set_bot_days(bot_id: str, days: int | None, verb: Verb, *, actor: Actor) -> None:
    """Sets how long conversations with a bot are kept; None: for ever. A run that prunes now follows it from here on.

    Raises BadRequest. For `bots.holds`, which knows whether there is such a bot.
    """
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise BadRequest(f"Conversations are kept for 1 to {MOST_DAYS} days, or for ever.")
    ledger_days = settings.LEDGER_RETENTION_DAYS
    if ledger_days and (days is None or days > ledger_days):
        raise BadRequest(f"Calls are kept for {ledger_days} days (LEDGER_RETENTION_DAYS): conversations for no longer.")
    with transaction.atomic():
        holds.lock(exclusive=True)
        before = BotRetention.objects.select_for_update().filter(pk=bot_id).first()
        if before is not None and before.days == days:
            return
        BotRetention.objects.update_or_create(pk=bot_id, defaults={"days": days})
        record(verb, bot_id, actor=actor, values={"days": Change(before.days if before else None, days)})


def remove_bot_days(bot_id: str, verb: Verb, *, actor: Actor) -> None:
    """Conversations with a bot are kept as all others are. Raises NotFound where the bot has no policy."""
    with transaction.atomic():
        holds.lock(exclusive=True)
        policy = BotRetention.objects.select_for_update().filter(pk=bot_id).first()
        if policy is None:
            raise NotFound(f"The bot {bot_id} has no policy of its own.")
        policy.delete()
        record(verb, bot_id, actor=actor, values={"days": policy.days})


def lack() -> str | None:
    """What keeps a server from starting: a bot's policy that is longer than calls are kept."""
    ledger_days = settings.LEDGER_RETENTION_DAYS
    if not ledger_days:
        return None
    for bot_id, days in sorted(_bot_days().items()):
        if days is None or days > ledger_days:
            return (
                f"Conversations with the bot {bot_id} are kept for {'ever' if days is None else f'{days} days'}, and "
                f"calls for {ledger_days} (LEDGER_RETENTION_DAYS): change one of them (manage.py set_retention)."
            )
    return None


def _bot_days() -> dict[str, int | None]:
    return dict(BotRetention.objects.values_list("pk", "days"))
