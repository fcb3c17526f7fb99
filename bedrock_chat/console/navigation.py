"""What stands where in the console: pages in groups, in plain words, as far as an operator may see them.

A page that is registered appears by itself, in the group of its app or in the one that it names (`ConsolePage.group`).
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Final

from django.contrib.admin import ModelAdmin
from django.http import HttpRequest
from django.urls import reverse
from django.utils.text import capfirst


class Group(StrEnum):
    """The groups, in their order."""

    OVERVIEW = "Overview"
    PEOPLE = "People"
    BOTS = "Bots"
    APIS = "APIs"
    MONEY = "Money"
    OPERATIONS = "Operations"
    AUDIT = "Audit"


GROUP_OF_APP: Final = {
    "bots": Group.BOTS,
    "store": Group.BOTS,
    "conversations": Group.PEOPLE,
    "publication": Group.APIS,
}
"""Where pages of an app stand that name no group. Those of the kernel stand under Operations."""

GROUP_OF_MODEL: Final = {
    "bedrock_chat.user": Group.PEOPLE,
    "bedrock_chat.modelcall": Group.MONEY,
    "bedrock_chat.budget": Group.MONEY,
    "bedrock_chat.refusal": Group.OPERATIONS,
    "bedrock_chat.auditentry": Group.AUDIT,
}

PLAIN_NAMES: Final = {
    "bedrock_chat.user": "People",
    "bedrock_chat.modelcall": "Calls to models",
    "bedrock_chat.refusal": "Refused requests",
    "bedrock_chat.auditentry": "Who did what",
    "store.listing": "Bots in the store",
    "publication.publication": "Published APIs",
    "publication.apikey": "API keys",
    "publication.turnrequest": "Questions of APIs",
}
"""Names of lists, where the model's own name is a word of developers."""

ICONS: Final = {
    Group.OVERVIEW: "monitoring",
    Group.PEOPLE: "group",
    Group.BOTS: "smart_toy",
    Group.APIS: "api",
    Group.MONEY: "payments",
    Group.OPERATIONS: "settings_suggest",
    Group.AUDIT: "history",
}


def plain_name(page: ModelAdmin) -> str:
    """What the list of a page is called."""
    name: str = getattr(page, "plain_name", "")
    return name or PLAIN_NAMES.get(page.opts.label_lower) or capfirst(str(page.opts.verbose_name_plural))


def group_of(page: ModelAdmin) -> Group:
    group: Group | None = getattr(page, "group", None)
    label = page.opts.label_lower
    return group or GROUP_OF_MODEL.get(label) or GROUP_OF_APP.get(page.opts.app_label) or Group.OPERATIONS


def sidebar(request: HttpRequest, pages: Iterable[ModelAdmin]) -> list[dict[str, Any]]:
    """The groups with their pages, in the shape that the theme's template takes. Empty groups are left out."""
    entries: dict[Group, list[tuple[int, str, str]]] = {group: [] for group in Group}
    entries[Group.OVERVIEW].append((0, "Dashboard", reverse("admin:index")))
    for page in pages:
        if page.has_view_permission(request) and getattr(page, "is_in_navigation", True):
            address = reverse(f"admin:{page.opts.app_label}_{page.opts.model_name}_changelist")
            entries[group_of(page)].append((getattr(page, "order", 50), plain_name(page), address))
    current = _current(request.path, [address for items in entries.values() for _, _, address in items])
    return [
        {
            "title": group.value,
            "items": [
                {
                    "title": title,
                    "link": address,
                    "icon": ICONS[group],
                    "active": address == current,
                    "has_permission": True,
                }
                for _, title, address in sorted(items)
            ],
        }
        for group, items in entries.items()
        if items
    ]


def _current(path: str, addresses: Iterable[str]) -> str:
    """The longest address that the path begins with: a row's page belongs to its list."""
    return max((address for address in addresses if path.startswith(address)), key=len, default="")
