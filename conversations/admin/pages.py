"""The console pages of conversations: what each is and costs, and, for who may, a look at what was said."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat, pluralize
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.cache import add_never_cache_headers
from django.utils.html import format_html
from django.utils.text import Truncator

from bedrock_chat.bedrock.catalog import MODELS
from bedrock_chat.console import lookups, roles, writing
from bedrock_chat.console.addresses import of_row
from bedrock_chat.console.confirming import Action, ConfirmedAction, ConfirmingPage, ConsoleForm
from bedrock_chat.console.filters import PeriodFilter, choice_filter, id_filter
from bedrock_chat.console.id_search import IdSearchedAdmin
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import NotFound
from bots.models import Bot
from conversations import retention
from conversations.models import Conversation, Message
from conversations.operating import costs, looking, reading
from conversations.operating.looking import Reason

READ_CONTENT: Final = "conversations.read_content"
EXPORT: Final = "conversations.export_conversations"
PAGE: Final = "page"
LONGEST_TITLE: Final = 40

roles.allow(roles.Role.VIEWER, "conversations.view_conversation")
roles.allow(roles.Role.ADMIN, READ_CONTENT)


class ReasonForm(ConsoleForm):
    reason = forms.ChoiceField(choices=Reason.choices, help_text="It is in the audit, with who you are.")


class Read(ConfirmedAction[Conversation]):
    """Its second step leads to what was said (`ConversationAdmin.confirm_view`)."""

    name, label, icon = "read", "Read what was said", "visibility"
    permission = READ_CONTENT
    form_class = ReasonForm

    def consequences(self, row: Conversation | None) -> Iterable[str]:
        yield "You see what a person has written, which was not meant for you."
        yield "The audit records that you have read it, whose it is, and the reason. It keeps no word of it."
        yield f"You may read for {looking.LOOK_SECONDS // 60} minutes. After that you give a reason again."

    def perform(self, row: Conversation, values: Mapping[str, Any], *, actor: Caller) -> str:
        looking.look(row.pk, reason=Reason(values["reason"]), actor=actor)
        return "That you read this is recorded."


class BegunFilter(PeriodFilter):
    title = "begun"


@admin.register(Conversation)
class ConversationAdmin(ConfirmingPage, IdSearchedAdmin):
    id_columns = ("user_id", "bot_id", "publication_id")
    other_id_column = "external_id"
    confirmed = [Read()]
    list_before_template = "conversations/console_export_link.html"
    list_display = [
        *("shown_id", "owner", "bot", "model", "messages_count", "shown_size", "cost"),
        *("begun", "last_change"),
    ]
    list_filter = [
        BegunFilter,
        id_filter("bot", "bot_id", "bot"),
        id_filter("user", "user_id", "person"),
        id_filter("publication", "publication_id", "published API"),
        choice_filter("model", "model", "model of the first question", lambda: [(key, key) for key in sorted(MODELS)]),
    ]
    indexed_filters = frozenset({"bot", "user", "publication"})
    time_column = "created_at"
    list_select_related = ["user"]
    search_fields = ["external_id"]
    search_help_text = (
        "The whole id of a person, a bot, a published API or a conversation. "
        "Of a conversation, filter by its person first: then it is found at once."
    )
    empty_text = "When somebody asks something in the chat, their conversation is listed here."
    fields = [
        *("shown_id", "owner", "bot", "model", "messages_count", "shown_size", "cost", "shown_hold"),
        *("begun", "last_change"),
    ]
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        rows: QuerySet[Conversation] = super().get_queryset(request)
        return rows.defer("title", "instruction", "feedback")

    def complete_page(self, request: HttpRequest, rows: Sequence[Conversation]) -> None:
        """Adds what the conversations of one page have cost, their bots, and how many messages they have."""
        keys = [row.pk for row in rows]
        spent = costs.of_conversations(rows)
        counted = Message.objects.filter(conversation__in=keys).order_by().values_list("conversation_id")
        messages = dict(counted.annotate(messages=Count("pk")))
        bots = {row.bot_id for row in rows if row.bot_id}
        titles = dict(Bot.objects.filter(pk__in=bots).values_list("pk", "title")) if bots else {}
        for row in rows:
            row.spent = spent.get(row.pk)  # type: ignore[attr-defined]  # for `cost`, and so on
            row.messages_total = messages.get(row.pk, 0)  # type: ignore[attr-defined]
            row.bot_title = titles.get(row.bot_id or "")  # type: ignore[attr-defined]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Conversation | None:
        row: Conversation | None = super().get_object(request, object_id, from_field)
        if row is not None:
            self.complete_page(request, [row])
        return row

    # ---- Columns ----------------------------------------------------------------------------------------------------

    @admin.display(description="conversation")
    def shown_id(self, row: Conversation) -> str:
        return row.external_id

    @admin.display(description="begun")
    def begun(self, row: Conversation) -> datetime:
        return row.created_at

    @admin.display(description="last change")
    def last_change(self, row: Conversation) -> datetime:
        return row.updated_at

    @admin.display(description="owner")
    def owner(self, row: Conversation) -> str:
        """A person, or a published API."""
        if row.user is None:
            return _link(of_row("publication.publication", row.publication_id or ""), f"API {row.publication_id}")
        return _link(of_row("bedrock_chat.user", quote(row.user.pk)), str(row.user))

    @admin.display(description="bot", empty_value="none")
    def bot(self, row: Conversation) -> str | None:
        if row.bot_id is None:
            return None
        title: str | None = row.bot_title  # type: ignore[attr-defined]  # from `complete_page`
        if title is None:
            return f"{row.bot_id} (gone)"
        return _link(of_row("bots.bot", quote(row.bot_id)), Truncator(title).chars(LONGEST_TITLE))

    @admin.display(description="messages")
    def messages_count(self, row: Conversation) -> int:
        count: int = row.messages_total  # type: ignore[attr-defined]  # from `complete_page`
        return count

    @admin.display(description="size", empty_value="unknown")
    def shown_size(self, row: Conversation) -> str | None:
        return None if row.size is None else filesizeformat(row.size)

    @admin.display(description="cost", empty_value="none")
    def cost(self, row: Conversation) -> str | None:
        spent: costs.Cost | None = row.spent  # type: ignore[attr-defined]  # from `complete_page`
        if spent is None:
            return None
        unpriced = f", {spent.unpriced:,} call{pluralize(spent.unpriced)} unpriced" if spent.unpriced else ""
        return f"{writing.usd(spent.price)}{unpriced}"

    @admin.display(description="on hold")
    def shown_hold(self, row: Conversation) -> str:
        """Whether a hold on its owner or its bot keeps it from being pruned."""
        names = [kind.label for kind in retention.kept_by(row)]
        return f"yes: {', '.join(names).lower()}" if names else "no"

    # ---- Lists ------------------------------------------------------------------------------------------------------

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        context = {"may_export": request.user.has_perm(EXPORT), **(extra_context or {})}
        return super().changelist_view(request, context)

    def is_indexed_search(self, request: HttpRequest, search_term: str) -> bool:
        """Also the client's id of a conversation has an index, together with whose the conversation is."""
        has_owner = any(request.GET.get(name) for name in ("user", "publication"))
        return has_owner or super().is_indexed_search(request, search_term)

    # ---- What was said ----------------------------------------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.content_view)
        own = path("<path:object_id>/content/", view, name="conversations_conversation_content")
        return [own, *super().get_urls()]

    def confirm_view(self, request: HttpRequest, object_id: str, *, action: Action) -> HttpResponseBase:
        """As for every action. Behind it is what was said, for a while and for this session alone."""
        response = super().confirm_view(request, object_id, action=action)
        if action.name == Read.name and request.method == "POST" and isinstance(response, HttpResponseRedirect):
            looking.open_in(request.session, int(unquote(object_id)))
            return HttpResponseRedirect(_address_of("content", object_id))
        return response

    def content_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """A page of what was said. Without a look that was recorded, the page that asks for the reason comes first."""
        lookups.take_only(request, {PAGE})
        lookups.check_page_number(request.GET.get(PAGE, "1"))
        if not (self.has_view_permission(request) and request.user.has_perm(READ_CONTENT)):
            raise PermissionDenied
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise NotFound
        if not looking.is_open(request.session, row.pk):
            return HttpResponseRedirect(_address_of("read", object_id))
        conversation = looking.readable(row.pk)
        shown = {
            **self.admin_site.each_context(request),
            "title": f"What was said in {row}",
            "opts": self.opts,
            "conversation": conversation,
            "read": reading.page_of(conversation, int(request.GET.get(PAGE, "1"))),
            "way_back": _address_of("change", object_id),
        }
        response = TemplateResponse(request, "conversations/console_content.html", shown)
        add_never_cache_headers(response)
        return response


def _address_of(name: str, object_id: str) -> str:
    return reverse(f"admin:conversations_conversation_{name}", args=(object_id,))


def _link(address: str, text: str) -> str:
    return format_html('<a class="underline" href="{}">{}</a>', address, text) if address else text
