"""What the first glance of the console tells of keys."""

from collections.abc import Iterable
from typing import Final

from django.http import HttpRequest
from django.urls import reverse

from bedrock_chat.console import registry
from bedrock_chat.console.registry import Trouble
from publication.admin.keys import NEAR_DAYS, ending_within
from publication.models import ApiKey

MOST_COUNTED: Final = 100


@registry.warning("keys near expiry", permission="publication.view_apikey")
def keys_near_expiry(request: HttpRequest) -> Iterable[Trouble]:
    """Keys that open their API and soon will not, without another in their place."""
    count = ApiKey.objects.filter(ending_within(NEAR_DAYS)).order_by()[:MOST_COUNTED].count()
    if count:
        number = f"{MOST_COUNTED} or more keys expire" if count == MOST_COUNTED else f"{count} keys expire"
        number = "1 key expires" if count == 1 else number
        address = reverse("admin:publication_apikey_changelist")
        yield Trouble(f"{number} within {NEAR_DAYS} days.", f"{address}?expires={NEAR_DAYS}", link_text="Rotate them")
