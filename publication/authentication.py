"""Turns an API key into its caller, and refuses every other one alike, as API Gateway does."""

import ipaddress
import re
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.conf import settings
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

from bedrock_chat import logs
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.database.composing import Slot
from bedrock_chat.database.instances import loaded_row
from bedrock_chat.identity import rates
from bedrock_chat.identity.addresses import client_address, client_network
from bedrock_chat.identity.caller import Caller, Published
from bedrock_chat.identity.origin import origin_of
from bedrock_chat.serving import waits
from bedrock_chat.wire.errors import Forbidden, TooManyRequests
from bedrock_chat.wire.requests import CALLER
from publication import keys, limits
from publication.limits import State
from publication.models import ApiKey, Publication

PREFIX = "/published/"
HEADER = "x-api-key"
OPENAI = re.compile(rf"{PREFIX}[^/]+/[^/]+/v1(?:/|$)")
"""Addresses that clients of OpenAI's API call, with the key as a bearer's token."""
KNOWN_KEY = "publication.known_key"
"""The key of a request's META for the KnownKey that its key belongs to."""

USE_PAUSE = timedelta(minutes=1)
"""The last use of a key is written at most once in so long."""

KEY_COLUMNS = ("id", "lineage", "begun_at", "is_enabled", "expires_at", "last_used_at")
PUBLICATION_COLUMNS = tuple(field.attname for field in Publication._meta.concrete_fields)


class KeyRefused(Forbidden):
    """A missing, unknown, disabled or expired key, one of another API or stage, or an address that may not call."""

    def __init__(self) -> None:
        headers = {"x-amzn-ErrorType": "ForbiddenException"}
        super().__init__("Forbidden", headers=headers, extra={"message": "Forbidden"})


class KnownKey(NamedTuple):
    """A valid key, its publication, who calls with it, and how the account that its requests count for just stood."""

    key: ApiKey
    publication: Publication
    caller: Caller
    state: State


def find(request: HttpRequest) -> KnownKey:
    """The key of a request to a published API, in one query. Raises KeyRefused, and TooManyRequests (`rates`).

    A key that ended while its request waited was no guess, and is not counted as one.
    """
    known = request.META.get(KNOWN_KEY)
    if isinstance(known, KnownKey):
        return known
    known = _find(request, _value_of(request))
    if known is None and waits.has_waited(request):
        raise KeyRefused
    if known is None:
        try:
            rates.count(
                "failed keys",
                by=client_network(request),
                rate=settings.FAILED_KEYS_RATE,
                refusal="Too many refused keys from this address.",
            )
        except TooManyRequests as refusal:
            refusal.headers["x-amzn-ErrorType"] = "TooManyRequestsException"
            refusal.extra = {"message": "Too Many Requests"}
            raise
        raise KeyRefused
    request.META[KNOWN_KEY] = known
    request.META[CALLER] = known.caller.account
    logs.bind(publication_id=known.publication.pk, key_id=known.key.pk)
    return known


def caller_of(request: HttpRequest) -> str | None:
    """One of the settings' BODY_JUDGES: the publication whose key a request to a published API has."""
    return find(request).caller.account if request.path.startswith(PREFIX) else None


def is_openai(path: str) -> bool:
    return OPENAI.match(path) is not None


def _value_of(request: HttpRequest) -> str:
    """The value of the key that a request brings, empty where it has none."""
    value: str = request.headers.get(HEADER, "")
    if not value and is_openai(request.path):
        scheme, _, token = request.headers.get("Authorization", "").strip().partition(" ")
        value = token.strip() if scheme.lower() == "bearer" else ""
    return value


def _find(request: HttpRequest, value: str) -> KnownKey | None:
    """The key if it opens the API that the path names; None whatever is wrong."""
    bot_id, _, rest = request.path.removeprefix(PREFIX).partition("/")
    stage = rest.partition("/")[0]
    if not value or len(value) > keys.VALUE_LENGTH * 4:
        return None
    with Batch() as batch:
        shape = (limits.kind_of(request.method), limits.CLOCK[batch.vendor])
        rows = batch.queryset(_key_of_digest, shape, {"digest": keys.digest_of(value)})
    if not rows.result:
        return None
    owner_id, is_active, groups, *columns = rows.result[0]
    state = State(*columns[: len(State._fields)])
    columns = columns[len(State._fields) :]
    key = loaded_row(ApiKey, KEY_COLUMNS, columns[: len(KEY_COLUMNS)])
    publication = loaded_row(Publication, PUBLICATION_COLUMNS, columns[len(KEY_COLUMNS) :])
    is_open = (
        key.is_enabled
        and is_active
        and (key.expires_at is None or key.expires_at.timestamp() > state.now)
        and (publication.bot_id, publication.stage) == (bot_id, stage)
        and is_allowed(request, publication)
    )
    if not is_open:
        return None
    published = Published(
        bot_id=publication.bot_id,
        bot_version=publication.bot_version,
        tool_rounds=publication.tool_rounds,
        tool_seconds=publication.tool_seconds,
        payer_id=owner_id,
        payer_groups=frozenset(groups),
    )
    caller = Caller(
        user_id=None,
        publication_id=publication.pk,
        key_id=key.pk,
        published=published,
        origin=origin_of(request),
    )
    return KnownKey(key, publication, caller, state)


def _key_of_digest(kind: str, clock: str) -> "QuerySet[ApiKey, tuple[object, ...]]":
    of_publication = [f"publication__{column}" for column in PUBLICATION_COLUMNS]
    owner = "publication__bot__owner"
    columns = (f"{owner}_id", f"{owner}__is_active", f"{owner}__token_groups")
    rows = ApiKey.objects.filter(digest=Slot("digest"))
    return limits.with_states(rows, kind, clock).values_list(*columns, *State._fields, *KEY_COLUMNS, *of_publication)


def is_allowed(request: HttpRequest, publication: Publication) -> bool:
    """Whether a client may call: it lies in the server's networks, if there are any, and in the publication's."""
    if not settings.PUBLISHED_NETWORKS and not publication.allowed_networks:
        return True
    try:
        parsed = ipaddress.ip_address(client_address(request))
    except ValueError:
        return False
    if settings.PUBLISHED_NETWORKS and not any(parsed in network for network in settings.PUBLISHED_NETWORKS):
        return False
    own = [ipaddress.ip_network(network) for network in publication.allowed_networks]
    return not own or any(parsed in network for network in own)


class ApiKeyAuthentication(BaseAuthentication):
    """`x-api-key`. `request.auth` is the frozen Caller. `Authorization` counts for clients of OpenAI's API alone."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, Caller]:
        return AnonymousUser(), find(request._request).caller


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """How the OpenAPI document describes the key."""

    target_class = ApiKeyAuthentication
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "header", "name": HEADER, "description": "A key of the published API."}


class BearerKeyAuthentication(ApiKeyAuthentication):
    """`Authorization: Bearer <key>`, on the routes where `find` looks at it."""


class BearerKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # registers itself
    """How the OpenAPI document describes the key of OpenAI's clients."""

    target_class = BearerKeyAuthentication
    name = "bearerKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of the published API, as OpenAI's clients send it.",
        }


def note_use(key: ApiKey, address: str, agent: str, now: datetime) -> None:
    """Notes the last use of a key, unless another request has noted one within USE_PAUSE."""
    is_due = Q(last_used_at__isnull=True) | Q(last_used_at__lte=now - USE_PAUSE)
    used = {"last_used_at": now, "last_used_address": address[:64], "last_used_agent": agent}
    ApiKey.objects.filter(is_due, pk=key.pk).update(**used)
