"""The console pages of feedback: thumbs down first, by bot and category, and the comments for who may read them."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.html import format_html
from django.utils.text import Truncator

from bedrock_chat.console import periods, roles
from bedrock_chat.console.addresses import of_list, of_row
from bedrock_chat.console.filters import IdFilter, PeriodFilter, id_filter
from bedrock_chat.console.key_paging import KeyPagedChangeList, KeyPagedReadOnlyAdmin
from bedrock_chat.console.panels import Cell, Column, Table, Unit
from bedrock_chat.console.periods import Choice, Period
from bedrock_chat.console.writing import count_cell
from bots.models import Bot
from conversations.models import Conversation, RatedConversation, RatedMessage
from conversations.operating import opinions

READ_COMMENTS: Final = "conversations.read_comments"
LOOKED_THROUGH: Final = 2_000
"""So many rows with a thumb a page judges. What is beyond is behind the next link."""
LONGEST_SHOWN: Final = 2_000
"""Characters of a comment in the list. The conversation has all of it, for who may read that."""
SHOWN_TITLE: Final = 40

roles.allow(roles.Role.VIEWER, "conversations.view_ratedmessage", "conversations.view_ratedconversation")
roles.allow(roles.Role.SUPPORT, READ_COMMENTS)


class ThumbFilter(admin.SimpleListFilter):
    """Thumbs down, unless one asks for others."""

    title = parameter_name = "thumbs"
    DOWN, UP, ANY = "down", "up", "any"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(self.DOWN, "Down"), (self.UP, "Up"), (self.ANY, "Both")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        for value, label in self.lookup_choices:
            yield {
                "selected": (self.value() or self.DOWN) == value,
                "query_string": changelist.get_query_string({self.parameter_name: value}),
                "display": label,
            }

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == self.ANY:
            return rows
        return rows.filter(feedback__thumbsUp=self.value() == self.UP)


class CategoryFilter(IdFilter):
    """By what people chose as the reason. The counts lead here."""

    title = parameter_name = "category"

    def queryset(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        value = self.value()
        return rows.filter(feedback__category=value) if value else rows


class WrittenFilter(PeriodFilter):
    title = "written"


class RatedChangeList(KeyPagedChangeList):
    """Rows with a thumb are few among all. An index has their keys, so as many of them are judged a page."""

    scanned = f"{LOOKED_THROUGH:,}"

    def _filters(self, request: HttpRequest) -> tuple[set[str], set[str]]:
        """With the filter that is set when none is."""
        indexed, others = super()._filters(request)
        is_any = request.GET.get(ThumbFilter.parameter_name) == ThumbFilter.ANY
        return indexed, others - {ThumbFilter.parameter_name} if is_any else {*others, ThumbFilter.parameter_name}

    def url_for_result(self, result: Any) -> str:
        """A row leads to its conversation's page: nothing more is known of the thumb."""
        return of_row("conversations.conversation", _conversation(result).pk)

    def _limit(self, keys: Any) -> int | None:
        rated = self.model._default_manager.filter(feedback__isnull=False)
        limit: int | None = keys.cut(rated).values_list("pk", flat=True)[LOOKED_THROUGH - 1 : LOOKED_THROUGH].first()
        return limit


class FeedbackPage(KeyPagedReadOnlyAdmin):
    """A list of what people think. It names nobody, and quotes comments alone: none of who is being erased."""

    bot_column: ClassVar[str]
    time_column = "created_at"
    empty_text = "When somebody gives a thumb down in the chat, it is listed here. Thumbs up are behind the filter."

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RatedChangeList]:
        return RatedChangeList

    def get_list_display(self, request: HttpRequest | None) -> list[Any]:
        columns = super().get_list_display(request)
        may = request is None or request.user.has_perm(READ_COMMENTS)
        return columns if may else [column for column in columns if column != "shown_comment"]

    def complete_page(self, request: HttpRequest, rows: Sequence[Any]) -> None:
        bots = {_conversation(row).bot_id for row in rows} - {None}
        titles = dict(Bot.objects.filter(pk__in=bots).values_list("pk", "title")) if bots else {}
        for row in rows:
            row.bot_title = titles.get(_conversation(row).bot_id or "")

    @admin.display(description="written")
    def written(self, row: Any) -> Any:
        return row.created_at

    @admin.display(description="thumb")
    def thumb(self, row: Any) -> str:
        return "up" if row.feedback["thumbsUp"] else "down"

    @admin.display(description="category", empty_value="none")
    def category(self, row: Any) -> str | None:
        return row.feedback["category"] or None

    @admin.display(description="comment", empty_value="")
    def shown_comment(self, row: Any) -> str | None:
        comment: str = row.feedback["comment"]
        shown = Truncator(comment).chars(LONGEST_SHOWN)
        return format_html('<div class="review-comment" lang="">{}</div>', shown) if comment else None

    @admin.display(description="bot", empty_value="none")
    def bot(self, row: Any) -> str | None:
        bot_id, title = _conversation(row).bot_id, row.bot_title
        if bot_id is None:
            return None
        if title is None:
            return f"{bot_id} (gone)"
        return format_html(
            '<a class="underline" href="{}">{}</a>', of_row("bots.bot", bot_id), Truncator(title).chars(SHOWN_TITLE)
        )

    @admin.display(description="conversation")
    def conversation_link(self, row: Any) -> str:
        conversation = _conversation(row)
        address = of_row("conversations.conversation", conversation.pk)
        return format_html('<a class="underline" href="{}">{}</a>', address, conversation.external_id)


def _conversation(row: RatedMessage | RatedConversation) -> Conversation:
    return row if isinstance(row, Conversation) else row.conversation


@admin.register(RatedMessage)
class RatedMessageAdmin(FeedbackPage):
    plain_name = "Feedback on messages"
    list_before_template = "conversations/console_feedback.html"
    bot_column = "conversation__bot_id"
    list_display = ["written", "thumb", "category", "shown_comment", "bot", "role", "model", "conversation_link"]
    list_filter = [ThumbFilter, WrittenFilter, id_filter("bot", bot_column, "bot"), CategoryFilter]
    fields = ["written", "role", "model"]
    readonly_fields = ["written"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RatedMessage]:
        rows: Any = super().get_queryset(request)
        columns = ("created_at", "feedback", "role", "model", "conversation__bot_id", "conversation__external_id")
        rated: QuerySet[RatedMessage] = rows.open_to_operators().filter(feedback__isnull=False)
        return rated.select_related("conversation").only("external_id", "conversation", *columns)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        period = periods.period_of(request.GET.dict(), default=Choice.MONTH)
        assert period is not None
        counted = opinions.counts(period.span)
        context = {
            "period": period,
            "counts": _table(counted, period),
            "most_counted": "" if counted.is_all else f"{opinions.MOST_COUNTED:,}",
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)


@admin.register(RatedConversation)
class RatedConversationAdmin(FeedbackPage):
    plain_name = "Feedback on conversations"
    bot_column = "bot_id"
    list_display = ["written", "thumb", "category", "shown_comment", "bot", "conversation_link"]
    list_filter = [ThumbFilter, WrittenFilter, id_filter("bot", bot_column, "bot"), CategoryFilter]
    empty_text = "Clients may give a whole conversation a thumb. The chat page gives it to messages alone."
    fields = ["external_id", "written"]
    readonly_fields = ["written"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[RatedConversation]:
        rows: Any = super().get_queryset(request)
        rated: QuerySet[RatedConversation] = rows.open_to_operators().filter(feedback__isnull=False)
        return rated.only("external_id", "created_at", "feedback", "bot_id")


def _table(counted: opinions.Counts, period: Period) -> Table:
    bots = {row.bot_id for row in counted.rows if row.bot_id}
    titles = dict(Bot.objects.filter(pk__in=bots).values_list("pk", "title")) if bots else {}
    rows = []
    for row in counted.rows:
        filters = {name: value for name, value in (("bot", row.bot_id), ("category", row.category)) if value}
        down, up = (_address(period, thumbs=thumbs, **filters) for thumbs in (ThumbFilter.DOWN, ThumbFilter.UP))
        name = Truncator(titles.get(row.bot_id, row.bot_id)).chars(SHOWN_TITLE)
        rows.append(
            [
                Cell(name or "without a bot"),
                Cell(row.category or "none"),
                count_cell(row.thumbs_down, down),
                count_cell(row.thumbs_up, up),
            ]
        )
    columns = [Column("Bot"), Column("Category"), Column("Down", Unit.COUNT), Column("Up", Unit.COUNT)]
    return Table(columns, rows)


def _address(period: Period, **filters: str) -> str:
    return f"{of_list('conversations.ratedmessage')}?{period.query}&{urlencode(filters)}"
