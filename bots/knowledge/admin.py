"""Console pages of what bots know: how far each sync is, and every document with what came of it.

Passages are on no page, and nothing searches them. Addresses are shown without their queries, which may hold what a
person typed or a key.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.text import Truncator

from bedrock_chat.console import roles, writing
from bedrock_chat.console.addresses import of_list, of_row
from bedrock_chat.console.confirming import ConfirmedAction, ConfirmingPage
from bedrock_chat.console.filters import choice_filter, id_filter
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import units
from bedrock_chat.wire.errors import Conflict
from bots.knowledge import asking
from bots.knowledge.models import Document, Knowledge, SourceKind
from bots.knowledge.sources import kinds
from bots.knowledge.states import DocumentState
from bots.models import SyncStatus

CHANGE: Final = "bots.change_knowledge"
roles.allow(roles.Role.VIEWER, "bots.view_knowledge", "bots.view_document")
roles.allow(roles.Role.SUPPORT, CHANGE)

LONGEST_SHOWN: Final = 80
STATES: Final = {
    DocumentState.WAITING: "to be read",
    DocumentState.READ: "read, to be indexed",
    DocumentState.READY: "found",
    DocumentState.FAILED: "failed",
    DocumentState.SKIPPED: "no document",
    DocumentState.REMOVED: "being removed",
}


class Sync(ConfirmedAction[Knowledge]):
    name, label, button, icon = "sync", "Sync now", "Sync now", "sync"
    permission = CHANGE
    is_for_many = True

    def is_offered(self, row: Knowledge) -> bool:
        return row.bot_id is not None

    def consequences(self, row: Knowledge | None) -> Iterable[str]:
        yield "Sources are looked at again: what has not changed is neither read nor paid for again."
        yield "What failed is tried again. While a sync runs, that one is the answer."

    def perform(self, row: Knowledge, values: Mapping[str, Any], *, actor: Caller) -> str:
        asking.sync(_bot_of(row), full=False, actor=actor)
        return f"The sync of bot {row.bot_id} is queued."


class Cancel(ConfirmedAction[Knowledge]):
    name, label, icon = "cancel", "Cancel the sync", "cancel"
    permission = CHANGE
    is_for_many = is_dangerous = True

    def is_offered(self, row: Knowledge) -> bool:
        is_wanted = row.sync_status in (SyncStatus.QUEUED, SyncStatus.RUNNING) or row.retry_at is not None
        return row.bot_id is not None and is_wanted

    def consequences(self, row: Knowledge | None) -> Iterable[str]:
        yield "It ends now and keeps what it has read. The bot shows that it failed, until it is saved or synced again."

    def perform(self, row: Knowledge, values: Mapping[str, Any], *, actor: Caller) -> str:
        asking.cancel(_bot_of(row), actor=actor)
        return f"The sync of bot {row.bot_id} is cancelled."


class Retry(ConfirmedAction[Document]):
    name, label, button, icon = "retry", "Retry", "Try again", "replay"
    permission = CHANGE
    is_for_many = True

    def is_offered(self, row: Document) -> bool:
        return row.state == DocumentState.FAILED and row.knowledge.bot_id is not None

    def consequences(self, row: Document | None) -> Iterable[str]:
        yield "A sync of its bot is queued, which tries this document and every other one that failed again."

    def perform(self, row: Document, values: Mapping[str, Any], *, actor: Caller) -> str:
        if row.state != DocumentState.FAILED:
            raise Conflict("This document has not failed.")
        asking.sync(_bot_of(row.knowledge), full=False, actor=actor)
        return f"The sync of bot {row.knowledge.bot_id} is queued."


def _bot_of(knowledge: Knowledge) -> str:
    """The id of its bot. Raises Conflict where that is gone."""
    if knowledge.bot_id is None:
        raise Conflict("The bot is gone.")
    return knowledge.bot_id


@admin.register(Knowledge)
class KnowledgeAdmin(ConfirmingPage, KeyPagedReadOnlyAdmin):
    confirmed = [Sync(), Cancel()]
    plain_name = "Syncs of knowledge"
    order = 60
    list_display = ["shown_bot", "sync_status", "shown_reason", "began_at", "moved_at", "synced_at", "cost"]
    list_filter = [
        choice_filter("status", "sync_status", "status", lambda: SyncStatus.choices),
        id_filter("bot", "bot_id", "bot"),
    ]
    indexed_filters = frozenset({"bot"})
    open_columns = frozenset({"sync_status_reason"})  # sentences of ours, and the names of sources
    empty_text = "A bot that knows files or addresses has a row here."
    fields = [
        *("shown_bot", "sync_status", "whole_reason", "documents", "cost"),
        *("asked_at", "began_at", "moved_at", "retry_at", "synced_at"),
    ]
    readonly_fields = ["shown_bot", "whole_reason", "documents", "cost"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Knowledge]:
        rows: QuerySet[Knowledge] = super().get_queryset(request)
        return rows.select_related("bot").only(
            *("id", "sync_status", "sync_status_reason", "sync_price", "sync_tokens"),
            *("asked_at", "began_at", "moved_at", "retry_at", "synced_at", "bot__id", "bot__title"),
        )

    @admin.display(description="bot")
    def shown_bot(self, row: Knowledge) -> str:
        return bot_link(row)

    @admin.display(description="reason")
    def shown_reason(self, row: Knowledge) -> str:
        return Truncator(kinds.seen(row.sync_status_reason)).chars(LONGEST_SHOWN)

    @admin.display(description="reason", empty_value="")
    def whole_reason(self, row: Knowledge) -> str:
        return kinds.seen(row.sync_status_reason)

    @admin.display(description="documents")
    def documents(self, row: Knowledge) -> str:
        if row.bot_id is None:
            return "being removed"
        return format_html('<a class="underline" href="{}">Its documents</a>', of_list("bots.document", bot=row.bot_id))

    @admin.display(description="cost of this sync")
    def cost(self, row: Knowledge) -> str:
        unpriced = f", {row.sync_tokens:,} tokens unpriced" if row.sync_tokens else ""
        return f"{writing.usd(units.usd_of(row.sync_price))}{unpriced}"


@admin.register(Document)
class DocumentAdmin(ConfirmingPage, KeyPagedReadOnlyAdmin):
    confirmed = [Retry()]
    plain_name = "Documents of bots"
    order = 61
    list_display = ["shown_name", "shown_state", "source_kind", "shown_bot", "shown_reason", "pages", "tokens"]
    list_filter = [
        choice_filter("state", "state", "state", lambda: list(STATES.items())),
        choice_filter("kind", "source__kind", "source", lambda: SourceKind.choices),
        id_filter("bot", "knowledge__bot_id", "bot"),
    ]
    indexed_filters = frozenset({"bot"})
    open_columns = frozenset({"name", "location", "reason", "note"})  # as the bot's own page shows its sources
    empty_text = "Each file, page and object that a bot knows is a row here."
    fields = [
        *("shown_name", "address", "source_kind", "shown_bot", "shown_state", "shown_reason", "shown_note"),
        *("pages", "tokens", "version", "attempts", "failures", "etag", "last_modified"),
    ]
    readonly_fields = [
        *("shown_name", "address", "source_kind", "shown_bot", "shown_state", "shown_reason", "shown_note"),
    ]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        rows: QuerySet[Document] = super().get_queryset(request)
        return rows.select_related("knowledge__bot", "source").only(
            *("id", "name", "location", "state", "reason", "note", "pages", "tokens", "version", "attempts"),
            *("failures", "etag", "last_modified", "source__kind"),
            *("knowledge__bot__id", "knowledge__bot__title"),
        )

    @admin.display(description="document", ordering="name")
    def shown_name(self, row: Document) -> str:
        return Truncator(kinds.seen(row.name) or without_query(row.location)).chars(LONGEST_SHOWN)

    @admin.display(description="location, without a query", ordering="location")
    def address(self, row: Document) -> str:
        return without_query(row.location)

    @admin.display(description="source")
    def source_kind(self, row: Document) -> str:
        return row.source.get_kind_display()

    @admin.display(description="state", ordering="state")
    def shown_state(self, row: Document) -> str:
        return STATES[DocumentState(row.state)]

    @admin.display(description="bot")
    def shown_bot(self, row: Document) -> str:
        return bot_link(row.knowledge)

    @admin.display(description="reason", ordering="reason", empty_value="")
    def shown_reason(self, row: Document) -> str:
        return row.reason

    @admin.display(description="what of it was not read", ordering="note", empty_value="")
    def shown_note(self, row: Document) -> str:
        return row.note


def bot_link(knowledge: Knowledge) -> str:
    """The bot's title, which leads to its page, and its id."""
    if knowledge.bot is None:
        return "gone"
    title = Truncator(knowledge.bot.title).chars(LONGEST_SHOWN)
    address = of_row("bots.bot", knowledge.bot.pk)
    return format_html('<a class="underline" href="{}">{}</a> ({})', address, title, knowledge.bot.pk)


def without_query(location: str) -> str:
    """A location as operators see it. A file's name may hold a question mark; an address's query begins with one."""
    return kinds.seen(location.partition("?")[0] if "://" in location else location)
