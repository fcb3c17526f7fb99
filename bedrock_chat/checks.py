"""System checks: `manage.py check` reports a wrong configuration before the first request runs into it."""

import sqlite3
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, register
from django.core.checks import Warning as CheckWarning
from django.db import connection
from django.db.utils import Error as DatabaseFault
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.module_loading import import_string

from bedrock_chat.audit import append_only
from bedrock_chat.bedrock import catalog, embedding_models, offering, pricing
from bedrock_chat.encryption import keys
from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.jobs import broker, queue

OLDEST_SQLITE = (3, 35)  # it brought UPDATE … RETURNING


@register(Tags.compatibility)
def models_exist(**_: Any) -> list[CheckMessage]:
    """Every model that a setting names is in the catalogue."""
    named = {
        "DEFAULT_MODEL": [settings.DEFAULT_MODEL],
        "TITLE_MODEL": [settings.TITLE_MODEL],
        "PARSING_MODEL": [settings.PARSING_MODEL],
        "GLOBAL_AVAILABLE_MODELS": settings.GLOBAL_AVAILABLE_MODELS,
        "INFERENCE_PROFILE_ARNS": list(settings.INFERENCE_PROFILE_ARNS),
        "MODEL_PRICES": list(settings.MODEL_PRICES),
    }
    messages: list[CheckMessage] = [
        Error(
            f"{setting} names {key!r}, which is not in the catalogue of models.",
            hint=f"One of: {', '.join(sorted(catalog.MODELS))}.",
            id="bedrock_chat.E001",
        )
        for setting, keys in named.items()
        for key in keys
        if key not in catalog.MODELS and not (setting == "MODEL_PRICES" and key in embedding_models.MODELS)
    ]
    messages += [
        Error(
            f"MODEL_PRICES of {key!r}: {error}.",
            hint='{"claude-v4.5-sonnet": {"input": 0.003, "output": 0.015}}, in USD per 1,000 tokens.',
            id="bedrock_chat.E006",
        )
        for key, overrides in settings.MODEL_PRICES.items()
        if (error := pricing.override_error(overrides))
    ]
    default = catalog.MODELS.get(settings.DEFAULT_MODEL)
    if default is not None and not offering.is_listed(default):
        messages.append(
            Error(
                "DEFAULT_MODEL is not among GLOBAL_AVAILABLE_MODELS: a new conversation would be refused.",
                id="bedrock_chat.E002",
            )
        )
    return messages


@register(Tags.compatibility)
def models_can_be_reached(**_: Any) -> list[CheckMessage]:
    """No model is offered, proposes titles or reads pages that is reached through switched-off profiles alone."""
    if settings.BEDROCK != "aws":
        return []
    named = [catalog.MODELS.get(key) for key in (settings.TITLE_MODEL, settings.PARSING_MODEL)]
    models = [*offering.listed(), *(model for model in named if model)]
    needed = {model.display_name: offering.switched_off_profiles(model) for model in models}
    unreachable = [f"{name} ({', '.join(profiles)})" for name, profiles in sorted(needed.items()) if profiles]
    if not unreachable:
        return []
    return [
        CheckWarning(
            f"In {settings.BEDROCK_REGION} these models are reached only through inference profiles that the settings "
            f"switch off, so that every call is refused: {'; '.join(unreachable)}.",
            hint="CROSS_REGION_INFERENCE allows geographic profiles, GLOBAL_INFERENCE the global one. "
            "INFERENCE_PROFILE_ARNS names your own, and GLOBAL_AVAILABLE_MODELS the models to offer.",
            id="bedrock_chat.W002",
        )
    ]


@register(Tags.compatibility)
def sqlite_is_usable(**_: Any) -> list[CheckMessage]:
    """SQLite is new enough and was built with full-text search."""
    if connection.vendor != "sqlite":
        return []
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        return [
            Error(
                f"SQLite {sqlite3.sqlite_version} is too old; 3.35 or newer is needed.",
                hint="Use a newer Python build, or PostgreSQL through DATABASE_URL.",
                id="bedrock_chat.E003",
            )
        ]
    with sqlite3.connect(":memory:") as database:
        options = {row[0] for row in database.execute("PRAGMA compile_options")}
    database.close()
    if "ENABLE_FTS5" not in options:
        return [
            Error(
                "SQLite was built without FTS5, which search stands on.",
                hint="Use another Python build, or PostgreSQL through DATABASE_URL.",
                id="bedrock_chat.E004",
            )
        ]
    return []


@register(Tags.compatibility)
def every_job_has_a_handler(**_: Any) -> list[CheckMessage]:
    """Every kind of job that JOBS or JOB_SCHEDULE names has a handler that can be imported."""
    messages: list[CheckMessage] = []
    for kind in {*settings.JOBS, *settings.JOB_SCHEDULE}:
        try:
            queue.handler_of(kind)
        except (ImportError, queue.UnknownKind) as error:
            messages.append(Error(f"Nobody does jobs of the kind {kind!r}: {error}", id="bedrock_chat.E005"))
    return messages


@register(Tags.compatibility)
def celery_is_installed(**_: Any) -> list[CheckMessage]:
    """Where Celery delivers jobs, it is there."""
    if not broker.is_used() or find_spec("celery") is not None:
        return []
    return [
        Error(
            "CELERY_BROKER_URL is set, and Celery is not installed: no worker is told of any job.",
            hint="pip install -r requirements-celery.txt",
            id="bedrock_chat.E007",
        )
    ]


@register(Tags.security, deploy=True)
def identities_are_real(**_: Any) -> list[CheckMessage]:
    """A deployment has an issuer of its users' tokens: Cognito, or its own local identities."""
    if settings.COGNITO_USER_POOL_ID or settings.LOCAL_IDENTITIES:
        return []
    return [
        CheckWarning(
            "Nobody can sign in: neither COGNITO_USER_POOL_ID nor LOCAL_IDENTITIES is set.", id="bedrock_chat.W001"
        )
    ]


@register(Tags.security, deploy=True)
def console_is_protected(**_: Any) -> list[CheckMessage]:
    """The console refuses forged forms, and its cookies travel over HTTPS alone.

    Django's own checks (security.W003, W010 to W012 and W016) look for its middleware by name. Ours are subclasses.
    """
    messages: list[CheckMessage] = []
    if not any(issubclass(import_string(path), CsrfViewMiddleware) for path in settings.MIDDLEWARE):
        messages.append(
            CheckWarning("MIDDLEWARE has no CSRF middleware: the console takes forged forms.", id="bedrock_chat.W003")
        )
    messages += [
        CheckWarning(f"{setting} is not set: the console's cookie travels without HTTPS.", id="bedrock_chat.W004")
        for setting in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE")
        if not getattr(settings, setting)
    ]
    if not settings.SESSION_COOKIE_HTTPONLY:
        messages.append(
            CheckWarning(
                "SESSION_COOKIE_HTTPONLY is not set: scripts can read the console's session.", id="bedrock_chat.W005"
            )
        )
    return messages


@register(Tags.security, deploy=True)
def secrets_can_be_stored(**_: Any) -> list[CheckMessage]:
    """A deployment has a key for secrets. On SQLite it makes one itself."""
    if settings.ENCRYPTION_KEYS or connection.vendor == "sqlite":
        return []
    return [
        CheckWarning(
            "ENCRYPTION_KEYS is not set: whatever would store a secret is refused.",
            hint="Make a key as docs/OPERATING.md says, and give it to every process.",
            id="bedrock_chat.W006",
        )
    ]


@register(Tags.database)
def stored_secrets_can_be_read(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """`manage.py check --database default`: the keys of stored secrets are there. Else no server and no worker starts.

    A warning, since `migrate` runs it too, and giving secrets up may need new tables.
    """
    if not databases:
        return []
    try:
        keys.require_for_stored_secrets()
    except EncryptionError as error:
        return [CheckWarning(str(error), id="bedrock_chat.W007")]
    except DatabaseFault:  # away, or without tables yet: that is for others to say
        pass
    return []


@register(Tags.database)
def audit_is_append_only(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """`manage.py check --database default`: the database refuses to change the audit."""
    if not databases:
        return []
    try:
        unguarded = append_only.missing() if append_only.is_there() else []
    except DatabaseFault:
        return []
    if not unguarded:
        return []
    return [
        CheckWarning(
            f"The database does not keep the audit from being changed: {', '.join(unguarded)}.",
            hint="manage.py migrate makes the triggers that are missing.",
            id="bedrock_chat.W008",
        )
    ]
