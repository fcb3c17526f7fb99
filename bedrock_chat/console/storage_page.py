"""The console's page of what is stored: how much of what, what nobody needs any more, and what to do about it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.template.defaultfilters import filesizeformat
from django.urls import reverse
from django.utils.html import format_html

from bedrock_chat.blobs import figures
from bedrock_chat.blobs.figures import Amount, Sample, Stored
from bedrock_chat.blobs.models import Blob
from bedrock_chat.console import roles
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin
from bedrock_chat.wire.errors import ServiceUnavailable

roles.allow(roles.Role.VIEWER, "bedrock_chat.view_blob")

AMOUNTS: Final = ("", "Files", "Size")
COLUMNS: Final = ("", "How many", "What happens with it")


@dataclass(frozen=True, slots=True)
class Section:
    """A table of the page. `sentence` says what it means and what to do."""

    heading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    sentence: str = ""
    empty_text: str = "There is nothing of this."


ReadSection = Callable[[HttpRequest, Sample], Section | None]
_sections: list[ReadSection] = []


def section(read: ReadSection) -> ReadSection:
    """Decorates a function that makes a section: `read(request, sample)`. What it costs must not grow with the tables.

    None: the operator may not see it.
    """
    _sections.append(read)
    return read


@admin.register(Blob)
class BlobAdmin(KeyPagedReadOnlyAdmin):
    """Figures first, and below them the blobs by their digests."""

    plain_name = "Storage"

    newest_first = False
    list_before_template = "bedrock_chat/console_sections.html"
    list_display = ["sha256", "shown_size", "stored_at"]
    search_fields = ["sha256__exact"]
    search_help_text = "A whole SHA-256."
    empty_text = "Images and documents of conversations and files of bots are stored here."
    fields = ["sha256", "shown_size", "stored_at"]
    readonly_fields = ["shown_size"]

    @admin.display(description="size")
    def shown_size(self, row: Blob) -> str:
        return filesizeformat(row.size)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponseBase:
        if not self.has_view_permission(request):
            raise PermissionDenied
        of = figures.sample()
        parts = [_stored(figures.stored(of)), _waiting(), *(read(request, of) for read in _sections)]
        context = {
            **(extra_context or {}),
            "title": "Storage",
            "sections": [part for part in parts if part is not None],
        }
        response: HttpResponseBase = super().changelist_view(request, context)
        return response


def amount(label: Any, of_files: Amount, *, is_estimate: bool = False) -> tuple[Any, str, str]:
    """A row of a table with the columns AMOUNTS."""
    about = "about " if is_estimate else ""
    return label, f"{about}{of_files.files:,}", f"{about}{filesizeformat(of_files.bytes)}"


def _stored(whole: Stored) -> Section:
    about = whole.sample.is_estimate
    rows = [amount("All", whole.all, is_estimate=about)]
    rows += [amount(f"Of a {kind}", of_kind, is_estimate=about) for kind, of_kind in whole.by_kind.items()]
    rows.append(amount("Of nobody: orphaned", whole.unreferenced, is_estimate=about))
    counted = f"{whole.to_delete:,}" + (" or more" if whole.to_delete == figures.MOST_COUNTED else "")
    rows.append(("To be deleted from storage", counted, ""))
    how = f"Estimated from {figures.SAMPLE:,} of them. " if about else ""
    jobs = reverse("admin:bedrock_chat_job_changelist")
    sentence = format_html(
        "{}The job “remove blobs” takes what is of nobody, after the grace BLOB_GRACE_SECONDS. If it becomes more and "
        'more, look for that job <a class="underline" href="{}">among the jobs</a>: it may be dead.',
        how,
        jobs,
    )
    return Section("Files", AMOUNTS, rows, sentence)


def _waiting() -> Section:
    try:
        waiting = figures.waiting()
    except (ServiceUnavailable, OSError) as error:
        return Section("Uploads that wait", AMOUNTS, [], empty_text=f"The storage does not tell: {error}")
    rows = [amount("For bots that are not saved yet", waiting)] if waiting.files else []
    more = " There may be more." if waiting.files == figures.MOST_COUNTED else ""
    return Section(
        "Uploads that wait",
        AMOUNTS,
        rows,
        f"Saving the bot keeps a file. What is not kept is removed after a day; nothing is to be done.{more}",
        "No upload waits.",
    )
