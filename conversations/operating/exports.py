"""Exports that operators take from the console: limited, recorded, streamed, and each with a row that says how far."""

import time
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import F

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.audit.verbs import UnfitForAudit
from bedrock_chat.database.connections import database_now
from bedrock_chat.database.keys_by_time import Keys
from bedrock_chat.identity import rates
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.queue import Claimed
from conversations.models import ConversationExport
from conversations.operating import exporting
from conversations.operating.exporting import Filters

RATE: Final = "30/h"
FORGET_KIND: Final = "forget exports"
KEPT: Final = timedelta(days=30)
"""So long a row says what was exported. The audit says it longer."""
TELL_EVERY: Final = 1.0
STILL: Final = timedelta(minutes=1)
"""An export that has not moved for so long was cut short, or its client stands still."""
PIECE: Final = 64 * 1024
"""Bytes that are sent at least, but for the end."""


def _day(value: Any) -> str | None:
    """A day for the audit. Raises UnfitForAudit."""
    if value is not None and not isinstance(value, date):
        raise UnfitForAudit("A day is a date, or null.")
    return None if value is None else value.isoformat()


EXPORT: Final = verbs.register(
    "export",
    target="conversations",
    values={"bot": verbs.ids, "user": verbs.ids, "publication": verbs.ids, "first day": _day, "last day": _day},
)


def record_export(target: str, filters: Filters, *, actor: Actor) -> None:
    """Records who exports what, before the first byte. The target is `all`, or the row of the export."""
    ids = {column.removesuffix("_id"): [value] for column, value in filters.ids.items()}
    days = {"first day": filters.first_day, "last day": filters.last_day}
    record(EXPORT, target, actor=actor, values={**ids, **{name: day for name, day in days.items() if day is not None}})


def begin(filters: Filters, *, actor: Caller) -> ConversationExport:
    """Makes the row of an export, and records it. Raises TooManyRequests."""
    rates.count("exports of conversations", by=actor.account, rate=RATE, refusal="Too many exports; wait a while.")
    keys, now = filters.keys(), database_now()
    with transaction.atomic():
        row = ConversationExport.objects.create(
            asked_by=actor.user_id or "",
            bot_id=filters.bot_id,
            user_id=filters.user_id,
            publication_id=filters.publication_id,
            first_day=filters.first_day,
            last_day=filters.last_day,
            first_key=keys.first,
            next_key=keys.first,
            last_key=keys.last,
            begun_at=now,
            moved_at=now,
        )
        record_export(str(row.pk), filters, actor=actor)
        queue.enqueue(FORGET_KIND, delay=KEPT.total_seconds() + 1)
    return row


def forget(job: Claimed) -> None:
    """The job that deletes the rows of exports that began a while ago. The audit keeps its entries."""
    with transaction.atomic():
        ConversationExport.objects.filter(begun_at__lt=database_now() - KEPT).delete()
        job.finish()


def stream(row: ConversationExport, filters: Filters) -> Iterator[bytes]:
    """The file, in pieces of a size that is worth sending. The row follows, every second, and is done at the end."""
    export = ConversationExport.objects.filter(pk=row.pk)
    conversations = size = sent = 0
    waiting: list[bytes] = []
    last_update = time.monotonic()
    for piece in exporting.pieces(filters, Keys(row.first_key, row.last_key)):
        waiting.append(piece.data)
        size += len(piece.data)
        conversations += bool(piece.key)
        if piece.key and time.monotonic() - last_update >= TELL_EVERY:
            last_update = time.monotonic()
            now = database_now()
            export.update(conversations=conversations, size=size, next_key=piece.key + 1, moved_at=now)
        if size - sent >= PIECE:
            exporting.let_go()
            yield b"".join(waiting)
            waiting, sent = [], size
    now = database_now()
    export.update(conversations=conversations, size=size, next_key=F("last_key") + 1, moved_at=now, finished_at=now)
    exporting.let_go()
    yield b"".join(waiting)
