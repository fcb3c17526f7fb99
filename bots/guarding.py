"""Which guardrail a turn with a bot is under, and which one clients read and send back."""

from bedrock_chat.bedrock.request import Guardrail
from bedrock_chat.wire.errors import Conflict
from bots.configuration import Configuration, Guardrails, enabled_guardrails, own_filters
from bots.models import Bot, BotGuardrail, SyncStatus

NEWEST = "DRAFT"
WAIT_SECONDS = 10


def guardrail_of(configuration: Configuration, arn: str | None, version: str | None) -> Guardrail | None:
    """What turns are sent with. `arn` and `version` are the bot's own guardrail, as far as it is made.

    That one may still be of the thresholds before: it is used until the one of today's is made.
    """
    guardrails = enabled_guardrails(configuration)
    if guardrails is not None and guardrails["guardrail_arn"]:
        return Guardrail(guardrails["guardrail_arn"], guardrails["guardrail_version"] or NEWEST)
    if own_filters(configuration) is not None and arn and version:
        return Guardrail(arn, version)
    return None


def is_lacking(configuration: Configuration, guardrail: Guardrail | None) -> bool:
    """Whether answers are to be guarded, and there is no guardrail yet."""
    return guardrail is None and own_filters(configuration) is not None


def refuse_unguarded(
    configuration: Configuration, guardrail: Guardrail | None, sync_status: str, *, is_guarded_as_today: bool
) -> None:
    """Raises Conflict where answers are to be guarded, and there is no guardrail; with a time if one is being made."""
    if not is_lacking(configuration, guardrail):
        return
    if not is_guarded_as_today:
        raise Conflict(
            "This version has other thresholds than the bot has today, and no guardrail is made for them. "
            "The bot's owner can pin another version, or none."
        )
    if sync_status == SyncStatus.FAILED:
        raise Conflict("This bot's guardrail could not be made; its owner can see why. Until then it does not answer.")
    raise Conflict("This bot's guardrail is being made; try again in a moment.", retry_after=WAIT_SECONDS)


def shown(bot: Bot) -> Guardrails | None:
    """The guardrails as the bot's owner reads them: with the ARN and the version of the own one that turns use."""
    guardrails: Guardrails | None = bot.configuration["bedrock_guardrails"]
    if guardrails is None or own_filters(bot.configuration) is None:
        return guardrails
    made = BotGuardrail.objects.filter(pk=bot.pk).exclude(version="").first()
    return guardrails if made is None else {**guardrails, "guardrail_arn": made.arn, "guardrail_version": made.version}


def without_own(guardrails: Guardrails, bot_id: str) -> Guardrails:
    """What a client sent, for storing: without the ARN of the bot's own guardrail, which it has read in the bot.

    Otherwise that guardrail would be taken for the client's, and never be changed again. An ARN that the own one had
    earlier counts too: a form may have been open for long.
    """
    arn = guardrails["guardrail_arn"]
    made = BotGuardrail.objects.filter(pk=bot_id).first() if arn else None
    if made is None or arn not in (made.arn, *made.former_arns):
        return guardrails
    return {**guardrails, "guardrail_arn": "", "guardrail_version": ""}
