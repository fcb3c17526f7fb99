"""The operators' console: Django's admin, themed by django-unfold, at /console/."""

from typing import Any

from django.http import HttpRequest
from unfold.admin import ModelAdmin
from unfold.sites import UnfoldAdminSite


class Console(UnfoldAdminSite):
    """The one admin site. Signing in takes an operator's login and password, never a token."""

    site_header = "Bedrock Chat"
    site_title = "Bedrock Chat console"
    index_title = "Console"
    site_url = None  # the product has no pages of its own to link to


class ReadOnlyAdmin(ModelAdmin):
    """A page to look things up: nothing can be added, changed or deleted here."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
