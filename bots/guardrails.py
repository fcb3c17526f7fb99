"""The guardrail of a bot's own, step by step: made, changed, given a version, and deleted with the bot.

Each step makes at most one change in Bedrock, and `syncing.sync` writes what came of it. A worker that dies between the
two is followed by another that takes the same step again: by its token Bedrock knows it, and a guardrail that was made
and not written down is found by its name and tags.
"""

import hashlib
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from django.conf import settings

from bedrock_chat.bedrock import faults, guardrails
from bedrock_chat.bedrock.guardrails import Filters, Guardrail
from bedrock_chat.database.connections import database_now, release_connection
from bedrock_chat.jobs.queue import Claimed
from bots.configuration import own_filters
from bots.models import Bot, BotGuardrail, SyncStatus

logger = logging.getLogger(__name__)

BOT_TAG: Final = "bedrock-chat-bot"
DEPLOYMENT_TAG: Final = "bedrock-chat-deployment"
PREFIX: Final = "bedrock-chat-"
KEPT_SECONDS: Final = 600.0
"""How long what no new turn uses is kept: turns that are running may."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 30.0
MOST_FORMER: Final = 20
LONGEST_REASON: Final = 500
BEING_MADE: Final = "Its guardrail is being made."
TRIED_AGAIN: Final = "Bedrock does not make its guardrail just now; it is tried again."

_UNTAGGABLE = re.compile(r"[^a-zA-Z0-9\s._:/=+@-]")
_PASSES = (
    faults.Throttled,
    faults.Unavailable,
    faults.Unreachable,
    faults.TimedOut,
    faults.ConnectionCut,
    faults.InternalFault,
    faults.Unreadable,
)


@dataclass(frozen=True, slots=True)
class Step:
    """What one look at a guardrail has come to.

    `columns` are those of its row that change; `is_over`: there is no guardrail any more, and no bot, so the row goes.
    The job comes again after `again` seconds, with `payload`, unless that is None.
    """

    status: SyncStatus = SyncStatus.SUCCEEDED
    reason: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict)
    again: float | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    is_over: bool = False


def next_step(bot_id: str, bot: Bot | None, job: Claimed) -> Step:
    """Takes the next step towards what the bot wants, whatever was reached before. Writes only that one is asked for.

    What passes by itself is tried again, for as long as it takes; what does not is FAILED, with its reason, until the
    bot is changed or the hourly sweep tries again.
    """
    wanted = own_filters(bot.configuration) if bot is not None else None
    row = BotGuardrail.objects.filter(pk=bot_id).first()
    if row is None and wanted is None:
        return Step()
    step = _taken(bot_id, bot, row, wanted, job)
    if wanted is not None and row is not None and row.unused_since is not None:
        return replace(step, columns={"unused_since": None, **step.columns})  # turns use it again from now on
    return step


def _taken(bot_id: str, bot: Bot | None, row: BotGuardrail | None, wanted: Filters | None, job: Claimed) -> Step:
    try:
        if bot is None or wanted is None:
            assert row is not None
            return _withdraw(row, job, has_bot=bot is not None)
        return _make(bot, row or BotGuardrail(bot_id=bot_id), wanted, job)
    except faults.ModelFault as fault:
        if isinstance(fault, _PASSES) or fault.code in guardrails.BUSY:
            pause = max(_pause(job), fault.retry_after or 0.0)
            later = _again(job, pause, TRIED_AGAIN)
            return later if wanted is not None else replace(later, status=SyncStatus.SUCCEEDED, reason="")
        doing = "made" if wanted is not None else "deleted"
        logger.error("the guardrail of bot %s cannot be %s: %s", bot_id, doing, fault.code)  # noqa: TRY400
        return _failed(_reason_of(fault)) if wanted is not None else Step()


def write(bot_id: str, step: Step) -> None:
    """Writes what a step has come to, in the transaction that finishes its job."""
    row = BotGuardrail.objects.filter(pk=bot_id)
    if step.is_over:
        row.delete()
    elif step.columns:
        row.update(**step.columns)


def name_of(bot_id: str) -> str:
    """The name of a bot's guardrail, which no other deployment's bot of the same id has."""
    digest = hashlib.sha256(f"{deployment()}\n{bot_id}".encode()).hexdigest()
    return f"{PREFIX}{digest[:32]}"


def tags_of(bot_id: str) -> dict[str, str]:
    return {BOT_TAG: bot_id, DEPLOYMENT_TAG: deployment()}


def deployment() -> str:
    """What tells the guardrails of this server from those of another one in the same account, as tags may say it."""
    return _UNTAGGABLE.sub("_", settings.PUBLIC_BASE_URL)[:256]


def is_named(arn: str) -> bool:
    """Whether a client has given any bot this guardrail. Then it is not ours alone to delete."""
    named = Bot.objects.filter(
        configuration__bedrock_guardrails__guardrail_arn__in=[arn, arn.rpartition("/")[2]],
    )
    return named.exists()


def lost(row: BotGuardrail) -> dict[str, Any]:
    """The columns of a row whose guardrail is gone."""
    former = [*row.former_arns, row.arn][-MOST_FORMER:] if row.arn else row.former_arns
    return {
        "arn": "",
        "version": "",
        "filters": None,
        "is_asked_for": False,
        "former_arns": former,
        "replaced_at": None,
        "unused_since": None,
    }


# ---- Making ---------------------------------------------------------------------------------------------------------


def _make(bot: Bot, row: BotGuardrail, wanted: Filters, job: Claimed) -> Step:
    """Towards a version that blocks what the bot wants.

    1. If turns use such a version already, only what was replaced is left to be deleted.
    2. Without a guardrail, one is made, or found if an earlier attempt has made it.
    3. While Bedrock is at work on it, the job comes again.
    4. If its draft is another than wanted, that is changed.
    5. The draft becomes a version. When that is ready, turns use it.
    """
    if row.version and row.filters == wanted:
        return _tidy(row, job)
    if not row.arn:
        return _create(bot, row, wanted, job)
    release_connection()
    draft = guardrails.get(row.arn)
    if draft is None:
        return Step(SyncStatus.QUEUED, BEING_MADE, columns=lost(row), again=0.0)
    if draft.status == guardrails.FAILED:
        return _after_failure(bot, row, draft, wanted, job)
    if draft.status != guardrails.READY and not _versions_are_busy(job):
        return _again(job, _pause(job))
    if draft.filters != wanted:
        return _change(bot, row, wanted)
    return _add_version(bot, row, wanted, job)


def _create(bot: Bot, row: BotGuardrail, wanted: Filters, job: Claimed) -> Step:
    """Has the guardrail made. Before that the row says so, for whoever comes if this worker dies."""
    arn = _find(bot.pk) if row.is_asked_for else None
    if arn is None:
        BotGuardrail.objects.update_or_create(pk=bot.pk, defaults={"is_asked_for": True})
        job.check()
        release_connection()
        token = f"{name_of(bot.pk)}-{bot.version}-{_last_of(row)}"
        arn = guardrails.create(name_of(bot.pk), wanted, tags=tags_of(bot.pk), token=token)
    columns = {"arn": arn, "is_asked_for": False}
    return Step(SyncStatus.QUEUED, BEING_MADE, columns=columns, again=FIRST_PAUSE)


def _change(bot: Bot, row: BotGuardrail, wanted: Filters) -> Step:
    guardrails.update(row.arn, name_of(bot.pk), wanted)
    return Step(SyncStatus.QUEUED, BEING_MADE, again=FIRST_PAUSE, payload={"changed": True})


def _add_version(bot: Bot, row: BotGuardrail, wanted: Filters, job: Claimed) -> Step:
    """Has the draft kept as a version, and once that is ready, turns use it."""
    number = job.payload.get("made")
    if number is None:
        try:
            number = guardrails.create_version(row.arn, token=_version_token(bot, row))
        except faults.ModelFault as fault:
            if fault.code != guardrails.NO_ROOM or not _delete_versions(row):
                raise
            return Step(SyncStatus.QUEUED, BEING_MADE, again=FIRST_PAUSE)
    version = guardrails.get(row.arn, number)
    if version is not None and version.status == guardrails.FAILED:
        return replace(_failed(_reason(version)), columns={"replaced_at": database_now()})  # another token next time
    if version is None or version.status != guardrails.READY:
        later = _again(job, _pause(job), made=number)
        return replace(later, columns={"replaced_at": database_now()})  # should the bot change now, nobody will use it
    columns = {"version": number, "filters": dict(wanted), "replaced_at": database_now()}
    return Step(columns=columns, again=KEPT_SECONDS)


def _after_failure(bot: Bot, row: BotGuardrail, draft: Guardrail, wanted: Filters, job: Claimed) -> Step:
    """Bedrock could not make what was asked for. An earlier version stays in use; what has none is deleted.

    Without a change of this job's own the failure is an old one, and it is tried anew.
    """
    if not row.version:
        guardrails.delete(row.arn)
        return Step(SyncStatus.FAILED, _reason(draft), columns=lost(row))
    if job.payload.get("changed"):
        return _failed(_reason(draft))
    return _change(bot, row, wanted)


def _find(bot_id: str) -> str | None:
    """The ARN of a guardrail that an earlier attempt has made. Others' guardrails may have the name, not the tags."""
    release_connection()
    for entry in guardrails.every():
        if entry.name == name_of(bot_id) and guardrails.tags(entry.arn).items() >= tags_of(bot_id).items():
            return entry.arn
    return None


def _version_token(bot: Bot, row: BotGuardrail) -> str:
    """Another one after each version that was written down: one that failed must not be the answer once more."""
    written = int(row.replaced_at.timestamp() * 1_000_000) if row.replaced_at else 0
    return f"{name_of(bot.pk)}-{bot.version}-{_last_of(row)}-{written}"


def _last_of(row: BotGuardrail) -> str:
    """The guardrail of the row, or its former one: that must not come back as the answer to a later request."""
    return row.arn.rpartition("/")[2] or (row.former_arns[-1].rpartition("/")[2] if row.former_arns else "first")


# ---- Deleting -------------------------------------------------------------------------------------------------------


def _tidy(row: BotGuardrail, job: Claimed) -> Step:
    """Deletes the versions that were replaced, when no turn can use them any more. Their bot is done anyway."""
    if row.replaced_at is None:
        return Step()
    if (wait := _left(row.replaced_at)) > 0:
        return Step(again=wait)
    try:
        _delete_versions(row)
    except faults.ModelFault as fault:
        logger.warning("old versions of the guardrail of bot %s stay for now: %s", row.bot_id, fault.code)
        return Step(again=_pause(job), payload=_counted(job))
    return Step(columns={"replaced_at": None})


def _delete_versions(row: BotGuardrail) -> int:
    """Deletes all versions but the one that turns use. Returns how many. A client's guardrail keeps all of its."""
    if is_named(row.arn):
        return 0
    release_connection()
    replaced = [number for number in guardrails.versions(row.arn) if number != row.version]
    for number in replaced:
        guardrails.delete(row.arn, number)
    return len(replaced)


def _withdraw(row: BotGuardrail, job: Claimed, *, has_bot: bool) -> Step:
    """Deletes the guardrail of a bot that is gone or wants none, when no turn can use it any more."""
    if not row.arn:
        arn = _find(row.bot_id) if row.is_asked_for else None
        if arn is None:
            return Step(columns={"is_asked_for": False}, is_over=not has_bot)
        return Step(columns={"arn": arn, "is_asked_for": False}, again=0.0)
    if row.unused_since is None:
        return Step(columns={"unused_since": database_now()}, again=KEPT_SECONDS)
    if (wait := _left(row.unused_since)) > 0:
        return Step(again=wait)
    if is_named(row.arn):
        return Step()  # the sweep looks at it again
    release_connection()
    guardrails.delete(row.arn)
    return Step(columns=lost(row), is_over=not has_bot)


def _left(since: datetime) -> float:
    """Seconds until what is unused since then may be deleted."""
    return KEPT_SECONDS - (database_now() - since).total_seconds()


# ---- Waiting and failing --------------------------------------------------------------------------------------------


def _pause(job: Claimed) -> float:
    """Seconds until the next look, longer each time."""
    return float(min(LONGEST_PAUSE, FIRST_PAUSE * 1.5 ** min(job.payload.get("looks", 0), 20)))


def _counted(job: Claimed) -> dict[str, Any]:
    return {"looks": job.payload.get("looks", 0) + 1}


def _again(job: Claimed, pause: float, reason: str = BEING_MADE, **payload: Any) -> Step:
    kept: dict[str, Any] = {name: job.payload[name] for name in ("changed", "made") if name in job.payload}
    return Step(SyncStatus.QUEUED, reason, again=pause, payload={**kept, **_counted(job), **payload})


def _versions_are_busy(job: Claimed) -> bool:
    """Whether the guardrail may be busy because of the version that this job has asked for."""
    return "made" in job.payload


def _failed(reason: str) -> Step:
    return Step(SyncStatus.FAILED, reason)


def _reason(guardrail: Guardrail) -> str:
    return f"Bedrock could not make its guardrail: {' '.join(guardrail.reasons) or 'it does not say why'}"[
        :LONGEST_REASON
    ]


def _reason_of(fault: faults.ModelFault) -> str:
    """Why a guardrail cannot be made, for the bot's owner."""
    match fault:
        case faults.AccessDenied() | faults.NoCredentials():
            return "This server may not make guardrails. Tell your administrator."
        case faults.QuotaExceeded():
            return "The AWS account has no room for another guardrail or version. Tell your administrator."
        case faults.Invalid():
            return str(fault.detail)[:LONGEST_REASON]
    return f"Bedrock does not make its guardrail ({fault.code}). Tell your administrator."
