"""What the console's page of storage has of bots: their files, and guardrails in Bedrock."""

from typing import Final

from django.contrib import admin
from django.db.models import Count, Q, QuerySet, Sum
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.text import Truncator

from bedrock_chat.blobs.figures import Amount, Sample
from bedrock_chat.blobs.models import BlobReference
from bedrock_chat.console import roles
from bedrock_chat.console.site import ReadOnlyAdmin
from bedrock_chat.console.storage_page import AMOUNTS, COLUMNS, Section, amount, section
from bots.files import BLOB_OWNER
from bots.models import Bot, BotFile, BotGuardrail

roles.allow(roles.Role.VIEWER, "bots.view_botguardrail")

MOST_BOTS: Final = 20
MOST_COUNTED: Final = 10_000
LONGEST_TITLE: Final = 60


@section
def files_of_bots(request: HttpRequest, sample: Sample) -> Section | None:
    """The bots with most bytes, each with its versions. One query over the sample."""
    if not request.user.has_perm("bots.view_bot"):
        return None
    references = BlobReference.objects.filter(owner_kind=BLOB_OWNER)
    files = BotFile.objects.all()
    if sample.last is not None:
        files = files.filter(pk__in=references.filter(blob_id__lte=sample.last).values("owner_id"))
    sums = files.order_by().values_list("bot", "bot__title").annotate(count=Count("pk"), bytes=Sum("size"))
    rows = [
        amount(_bot(bot_id, title), sample.of_all(Amount(count, bytes_)), is_estimate=sample.is_estimate)
        for bot_id, title, count, bytes_ in sums.order_by("-bytes", "bot")[:MOST_BOTS]
    ]
    return Section(
        "Files of bots",
        AMOUNTS,
        rows,
        "The bots with most, and with what their kept versions name. An owner removes a file from all versions over "
        "the API; deleting a bot removes all of its files.",
        "No bot has files.",
    )


class StateFilter(admin.SimpleListFilter):
    """Filters guardrails by what is the matter with them."""

    title = parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: object) -> list[tuple[str, str]]:
        return [(state, label) for state, (label, _) in STATES.items()]

    def queryset(self, request: HttpRequest, rows: "QuerySet[BotGuardrail]") -> "QuerySet[BotGuardrail]":
        return of_state(rows, self.value()) if self.value() in STATES else rows


STATES: Final = {
    "used": ("In use", "Turns are under it."),
    "made": ("Being made", "A job makes it; if it fails, the bot says why, and the hourly sweep tries again."),
    "unused": ("No longer wanted", "It is deleted in Bedrock when no turn can use it any more."),
    "orphaned": (
        "Of bots that are gone",
        "It is deleted in Bedrock by a job, which the hourly sweep asks for.",
    ),
}


def of_state(rows: "QuerySet[BotGuardrail]", state: str | None) -> "QuerySet[BotGuardrail]":
    """The guardrails of one of STATES."""
    has_bot = Q(bot__in=Bot.objects.all())
    match state:
        case "used":
            return rows.filter(has_bot, unused_since__isnull=True).exclude(version="")
        case "made":
            return rows.filter(has_bot, unused_since__isnull=True, version="")
        case "unused":
            return rows.filter(has_bot, unused_since__isnull=False)
    return rows.exclude(has_bot)


@section
def guardrails_of_bots(request: HttpRequest, sample: Sample) -> Section | None:
    """How many there are in each state, as far as MOST_COUNTED."""
    if not request.user.has_perm("bots.view_botguardrail"):
        return None
    address = reverse("admin:bots_botguardrail_changelist")
    rows = []
    for state, (label, sentence) in STATES.items():
        count = of_state(BotGuardrail.objects.order_by(), state)[:MOST_COUNTED].count()
        if count:
            link = format_html('<a class="underline" href="{}?state={}">{}</a>', address, state, label)
            rows.append((link, f"{count:,}" + (" or more" if count == MOST_COUNTED else ""), sentence))
    return Section(
        "Guardrails in Bedrock",
        COLUMNS,
        rows,
        "Every hour a job compares them with Bedrock: it deletes those of this server that no bot has, and has those "
        "made again that are gone. “Who did what” lists each that it deleted (“remove left-over guardrail”). If "
        "Bedrock may not be asked, the log says so.",
        "No bot has a guardrail of its own.",
    )


@admin.register(BotGuardrail)
class BotGuardrailAdmin(ReadOnlyAdmin):
    plain_name = "Guardrails"
    list_display = ["bot_id", "arn", "version", "is_asked_for", "unused_since", "replaced_at"]
    list_filter = [StateFilter]
    search_fields = ["bot_id__exact"]
    search_help_text = "The id of a bot."
    ordering = ["pk"]
    show_full_result_count = False
    open_columns = frozenset({"arn", "filters"})  # ids, and kinds of content with strengths
    empty_text = "A bot with a guardrail of its own has a row here."
    fields = ["bot_id", "arn", "version", "filters", "is_asked_for", "unused_since", "replaced_at"]
    readonly_fields = ["bot_id"]

    @admin.display(description="bot", ordering="bot")
    def bot_id(self, row: BotGuardrail) -> str:
        return row.bot_id


def _bot(bot_id: str, title: str) -> str:
    address = reverse("admin:bots_bot_change", args=(bot_id,))
    return format_html('<a class="underline" href="{}">{}</a>', address, Truncator(title).chars(LONGEST_TITLE))
