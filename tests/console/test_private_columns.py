"""No page of the console shows, filters, orders or searches a secret or what people write, also none that comes."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin import TabularInline
from django.core.checks import run_checks
from django.db.models import F

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.bedrock.overrides.models import ModelOverride
from bedrock_chat.console import private_columns
from bedrock_chat.console.site import Console, ConsolePage, ReadOnlyAdmin
from bedrock_chat.identity.models import OperatorSession, User
from bedrock_chat.jobs.models import Job
from bedrock_chat.ledger.models import ModelCall
from bots.knowledge.models import Document, Knowledge
from bots.models import Bot, BotGuardrail, BotVersion
from conversations.models import Conversation, Message
from publication.models import ApiKey, Publication, TurnRequest
from store.models import Listing

PRIVATE = {
    "admin.LogEntry": {"object_id", "change_message"},
    "bedrock_chat.Hold": {"reason"},
    "bedrock_chat.Job": {"payload", "reason"},
    "bedrock_chat.OperatorSession": {"digest", "data"},
    "bedrock_chat.SearchDocument": {"terms", "words"},
    "bedrock_chat.SecondFactor": {"encrypted_secret", "encrypted_codes"},
    "bedrock_chat.SigningKey": {"private_key"},
    "bedrock_chat.User": {"password"},
    "bots.Bot": {"encrypted_secrets", "title", "instruction"},
    "bots.BotAlias": {"title", "description"},
    "bots.BotVersion": {"encrypted_secrets", "title", "instruction", "configuration"},
    "conversations.Conversation": {"title", "instruction", "feedback"},
    "conversations.Message": {"content", "content_digest", "feedback", "thinking_log", "rounds"},
    "conversations.RelatedDocument": {"content", "source_name", "source_link"},
    "publication.ApiKey": {"digest", "encrypted_value", "description"},
    "publication.IdempotencyKey": {"digest", "payload", "encrypted_answer"},
    "publication.TurnRequest": {"content", "reason"},
    "sessions.Session": {"session_key", "session_data"},
}
PUBLIC = {
    "bedrock_chat.Job": {"id", "kind", "key", "state", "due_at", "attempt", "worker", "created_at"},
    "bedrock_chat.User": {"id", "username", "email", "login", "is_active", "is_staff", "created_at", "last_login"},
    "bots.Bot": {"id", "owner", "version", "scope", "pinned_order", "published_at", "sync_status"},
    "bots.BotGrant": {"kind", "grantee"},
    "conversations.Conversation": {"external_id", "user", "publication_id", "bot_id", "model", "created_at"},
    "publication.ApiKey": {"id", "lineage", "is_enabled", "last_used_at", "last_used_address"},
    "publication.Publication": {"id", "bot", "stage", "quota_limit", "rate_limit"},
    "conversations.Message": {"conversation", "external_id", "role", "model", "outcome", "stop_reason"},
}

OPEN = {
    ModelOverride: {"groups"},
    Job: {"reason"},
    ModelCall: {"first_token_ms", "groups"},
    AuditEntry: {"fields", "values"},
    OperatorSession: {"has_second_factor"},
    Bot: {"title", "description", "instruction", "configuration", "sync_status_reason"},  # operators manage bots
    BotVersion: {"changed"},
    Knowledge: {"sync_status_reason"},  # sentences of ours, with names of sources, which the bot's page shows too
    Document: {"name", "location", "reason", "note"},  # locations without their queries
    BotGuardrail: {"arn", "filters"},  # ids, and kinds of content with strengths
    Listing: {"bot__title"},
    Publication: {"allowed_origins", "allowed_networks"},
    ApiKey: {"description"},  # operators tell keys apart by it
    TurnRequest: {"reason"},
}
"""Page → columns that are private by the rule and harmless. Whoever adds one says here that it is."""


def private_columns_of(label: str) -> set[str]:
    columns = apps.get_model(label)._meta.fields
    return {column.name for column in columns if private_columns.is_private(column)}


def test_the_rule_finds_what_is_private_and_lets_the_rest_be() -> None:
    missed = {label: names - private_columns_of(label) for label, names in PRIVATE.items()}
    mistaken = {label: names & private_columns_of(label) for label, names in PUBLIC.items()}
    assert not any(missed.values()), missed
    assert not any(mistaken.values()), mistaken


def test_no_page_uses_a_private_column() -> None:
    for page in admin.site._registry.values():
        assert isinstance(page, ConsolePage)
        assert private_columns.uses(page) == []


def test_the_exceptions_stand_in_the_table() -> None:
    pages = admin.site._registry.values()
    parts = [part for page in pages for part in (page, *page.inlines)]
    exceptions = {part.model: set(part.open_columns) for part in parts if part.open_columns}
    assert exceptions == OPEN


def test_the_check_runs_with_the_others() -> None:
    assert isinstance(admin.site, Console) or type(admin.site._wrapped) is Console
    assert run_checks() == []


def ordered_by(column: Any) -> Any:
    @admin.display(description="harmless", ordering=column)
    def harmless(self: Any, row: Any) -> str:
        return ""

    return harmless


class Messages(TabularInline):
    model = Message
    fields = ["role", "content"]


PAGES: dict[str, tuple[Any, dict[str, Any]]] = {
    "a list": (Conversation, {"list_display": ["external_id", "title"]}),
    "a search": (Conversation, {"search_fields": ["external_id", "title"]}),
    "a search by beginnings": (Conversation, {"search_fields": ["^instruction"]}),
    "a search through a relation": (Conversation, {"search_fields": ["=user__password"]}),
    "a search through a relation of many": (User, {"search_fields": ["conversation__title"]}),
    "a search with a lookup": (Conversation, {"search_fields": ["messages__content__icontains"]}),
    "a filter": (Conversation, {"list_filter": ["title"]}),
    "a filter of a class": (Conversation, {"list_filter": [("title", admin.AllValuesFieldListFilter)]}),
    "a filter through a relation": (Conversation, {"list_filter": ["user__password"]}),
    "an ordering": (Conversation, {"ordering": ["-title"]}),
    "an ordering by an expression": (Conversation, {"ordering": [F("title").desc()]}),
    "a column that is ordered by another": (
        Conversation,
        {"list_display": ["harmless"], "harmless": ordered_by("title")},
    ),
    "a column that is ordered by an expression": (
        Conversation,
        {"list_display": ["harmless"], "harmless": ordered_by(F("user__password").asc())},
    ),
    "a function that is ordered by another column": (Conversation, {"list_display": [ordered_by("-title")]}),
    "a row": (Conversation, {"fields": ["external_id", ("model", "title")]}),
    "a row in parts": (Conversation, {"fieldsets": [("What", {"fields": ["instruction"]})]}),
    "a row's own column": (Conversation, {"readonly_fields": ["title"]}),
    "a row of everything": (Conversation, {"fields": None}),
    "rows beside it": (Conversation, {"inlines": [Messages]}),
    "a password": (User, {"list_filter": ["password"]}),
    "what a job was given": (Job, {"search_fields": ["payload"]}),
}


@pytest.mark.parametrize(("model", "options"), PAGES.values(), ids=PAGES.keys())
def test_the_check_refuses_a_page_that_uses_one(model: Any, options: dict[str, Any]) -> None:
    site = Console()
    site.register(model, type("Page", (ReadOnlyAdmin,), {"fields": ["id"], **options}))
    assert "bedrock_chat.E102" in [message.id for message in site.check(None)]


@pytest.mark.parametrize(
    "options", [{}, {"list_display": ["external_id", "user"], "search_fields": ["=user__username"]}]
)
def test_it_lets_others_be(options: dict[str, Any]) -> None:
    site = Console()
    site.register(Conversation, type("Page", (ReadOnlyAdmin,), {"fields": ["external_id"], **options}))
    site.register(User, type("Page", (ReadOnlyAdmin,), {"fields": ["id"]}))
    assert site.check(None) == []


def test_a_page_without_our_rules_is_refused() -> None:
    site = Console()
    site.register(Conversation, type("Page", (admin.ModelAdmin,), {"fields": ["external_id"]}))
    assert [message.id for message in site.check(None)] == ["bedrock_chat.E101"]
