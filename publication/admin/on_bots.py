"""What the console's pages of bots have from here: a way to the bot's API, and its end."""

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.urls import reverse
from django.utils.html import format_html

from bedrock_chat.console import confirming, registry
from bots.models import Bot
from publication.admin.withdrawing import WithdrawOfBot
from publication.models import Publication


def _with_publication(rows: QuerySet[Bot]) -> QuerySet[Bot]:
    return rows.annotate(publication_key=Subquery(Publication.objects.filter(bot=OuterRef("pk")).values("pk")))


@admin.display(description="API", empty_value="none")
def api(row: Bot) -> str | None:
    """A link to the page of the bot's API."""
    key: str | None = row.publication_key  # type: ignore[attr-defined]  # annotated above
    if key is None:
        return None
    address = reverse("admin:publication_publication_change", args=(key,))
    return format_html('<a class="underline" href="{}">published</a>', address)


registry.extend(Bot, annotate=_with_publication, columns=[api])
confirming.offer(Bot, WithdrawOfBot())
