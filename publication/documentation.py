"""The OpenAPI document of one published API: its own address, and nothing of the rest of the server.

Whoever knows the address may read it. So it tells only what the address and this product tell anyway: no title of the
bot, which is shared with those who sign in here, and neither its models nor its limits.
"""

import json
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from typing import Any, Final

from django.conf import settings
from django.http import HttpRequest

from bedrock_chat.identity import rates
from bedrock_chat.identity.addresses import client_network
from bedrock_chat.wire import documentation
from bedrock_chat.wire.errors import NotFound
from publication import authentication, lifecycle
from publication.authentication import KeyRefused
from publication.models import Publication

TITLE: Final = "Published API"
PREFIX: Final = "/published/{bot_id}/{stage}"
HEADINGS: Final = {"published": "conversation", "published, OpenAI": "OpenAI"}  # tags, of the server's and of this
IN_PREFIX: Final = frozenset({"bot_id", "stage"})
DESCRIPTION: Final = """\
A bot that programs ask. Each request has a key, which the owner of the bot hands out.

1. `POST /conversation` stores a question, and gives the ids of its conversation and of its message.
2. `GET` with these ids gives the answer; until it is there, a 404 says in `Retry-After` when to ask again. With \
`?wait=30` it waits for the answer, 30 seconds at most.
3. With `conversationId` the next question goes on in the same conversation.

With `Accept: text/event-stream` the `POST` answers with events, as the bot writes.

Clients of OpenAI's API use the address with `/v1` behind it, and the key as theirs.

A question that is sent again with its `Idempotency-Key` is not asked twice. `RateLimit` and `RateLimit-Policy` say \
what is left of the limits; a 429 says in `Retry-After` when to come back.
"""

Document = dict[str, Any]


def open_publication(request: HttpRequest, bot_id: str, stage: str) -> Publication:
    """The publication whose documentation a stranger asks for.

    Raises NotFound where no API has one, TooManyRequests, and KeyRefused, as every other route does: for an API that is
    not there or was withdrawn, whose owner is suspended, or that is closed to the address.
    """
    if not settings.PUBLISHED_DOCS:
        raise NotFound(f"There is no {request.path} here.")
    rates.count(
        "published docs",
        by=client_network(request),
        rate=settings.PUBLISHED_DOCS_RATE,
        refusal="Too many requests for documentation from this address.",
    )
    publication = Publication.objects.filter(bot=bot_id, stage=stage, bot__owner__is_active=True).first()
    if publication is None or not authentication.is_allowed(request, publication):
        raise KeyRefused
    return publication


def document_of(publication: Publication) -> Document:
    """The document of this API."""
    endpoint = lifecycle.endpoint(publication)
    document = {**_document(), "servers": [{"url": endpoint}]}
    document["paths"] = paths = deepcopy(document["paths"])
    schemes = document["components"]["securitySchemes"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            example = f"```sh\n{_call(endpoint + path, method, operation, schemes)}\n```"
            operation["description"] = "\n\n".join(filter(None, (operation.get("description"), example)))
    return document


@cache
def _document() -> Document:
    """The part of the server's document that all published APIs have in common. Each process makes it once."""
    whole = documentation.document()
    paths = {
        path.removeprefix(PREFIX): {method: _relative(operation) for method, operation in operations.items()}
        for path, operations in whole["paths"].items()
        if path.startswith(f"{PREFIX}/")
    }
    schemes = {name for path in paths.values() for operation in path.values() for name in _schemes(operation)}
    components = whole["components"]
    return {
        "openapi": whole["openapi"],
        "info": {"title": TITLE, "version": whole["info"]["version"], "description": DESCRIPTION},
        "paths": paths,
        "components": {
            "schemas": {name: components["schemas"][name] for name in sorted(_reachable(paths, components["schemas"]))},
            "securitySchemes": {name: components["securitySchemes"][name] for name in sorted(schemes)},
        },
    }


def _relative(operation: Mapping[str, Any]) -> Document:
    """An operation without what the server's address says already, and never without a key."""
    parameters = [
        parameter
        for parameter in operation.get("parameters", ())
        if not (parameter["in"] == "path" and parameter["name"] in IN_PREFIX)
    ]
    security = [requirement for requirement in operation["security"] if requirement]
    tags = [HEADINGS[tag] for tag in operation["tags"]]
    return {**operation, "parameters": parameters, "security": security, "tags": tags}


def _schemes(operation: Mapping[str, Any]) -> Iterator[str]:
    for requirement in operation["security"]:
        yield from requirement


def _reachable(paths: Document, schemas: Mapping[str, Any]) -> set[str]:
    """The names of the schemas that the paths refer to, directly or through others."""
    names: set[str] = set()
    waiting: list[Any] = [paths]
    while waiting:
        for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(waiting.pop())):
            if name not in names:
                names.add(name)
                waiting.append(schemas[name])
    return names


def _call(url: str, method: str, operation: Mapping[str, Any], schemes: Mapping[str, Any]) -> str:
    """The operation as a call of curl; the parts of the path are variables of the shell."""
    address = re.sub(r"\{(\w+)\}", lambda name: f"${name[1].upper()}", url)
    [name, *_] = _schemes(operation)
    scheme = schemes[name]
    credentials = "Authorization: Bearer" if scheme["type"] == "http" else f"{scheme['name']}:"
    lines = [f'curl -X {method.upper()} "{address}"', f'-H "{credentials} $API_KEY"']
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for example in content.get("examples", {}).values():
            body = json.dumps(example["value"]).replace("'", "\\u0027")
            lines += ["-H 'Content-Type: application/json'", f"-d '{body}'"]
            break
    return " \\\n  ".join(lines)
