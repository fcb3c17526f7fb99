"""Short calls of the API: get an address, upload a file to it, name it in a bot."""

import hashlib
from typing import Any
from urllib.parse import urlsplit

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import HttpResponse
from django.test import Client
from rest_framework.response import Response
from rest_framework.test import APIClient

from bedrock_chat.blobs import uploads
from tests.bots import bot as bots

TEXT = "text/plain"
NOBODY = Client()
"""Uploads are sent without a token."""


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def ask(client: APIClient, bot_id: str, name: str, content_type: str = TEXT) -> Response:
    return client.get(f"/bot/{bot_id}/presigned-url", {"filename": name, "contentType": content_type})


def url(client: APIClient, bot_id: str, name: str, content_type: str = TEXT) -> str:
    """The path and query of an address of this server's own."""
    parts = urlsplit(bots.body(ask(client, bot_id, name, content_type))["url"])
    return f"{parts.path}?{parts.query}"


def put(path: str, body: bytes, content_type: str = TEXT) -> HttpResponse:
    return NOBODY.put(path, body, content_type=content_type)


def upload(client: APIClient, bot_id: str, name: str, body: bytes) -> None:
    """Uploads a file, which then waits in the caller's place."""
    assert bots.body(put(url(client, bot_id, name), body)) is None


def wait(user_id: str, bot_id: str, name: str, body: bytes) -> None:
    """As after an upload by somebody who is not a client of this test."""
    default_storage.save(uploads.name_of(f"user:{user_id}", "bot", bot_id, name), ContentFile(body))


def removal(client: APIClient, bot_id: str, name: str) -> Response:
    return client.delete(f"/bot/{bot_id}/uploaded-file", query_params={"filename": name})


def sources(*names: str) -> dict[str, Any]:
    """The knowledge of a creation that names these files."""
    return {**bots.KNOWLEDGE, "filenames": list(names)}


def change(**names: list[str]) -> dict[str, Any]:
    """The knowledge of an edit: `added`, `deleted`, `unchanged`, each a list of names."""
    words = {f"{word}Filenames": names.get(word, []) for word in ("added", "deleted", "unchanged")}
    return {"sourceUrls": [], "sitemapUrls": [], "s3Urls": [], **words}


def files_of(answer: dict[str, Any]) -> dict[str, str]:
    """Name → digest, as an answer shows them."""
    assert [file["filename"] for file in answer["files"]] == answer["knowledge"]["filenames"]
    return {file["filename"]: file["digest"] for file in answer["files"]}
