"""Short calls of the API: clone a bot, export it, import what was exported."""

import io
import zipfile
from collections.abc import Mapping
from typing import Any

from rest_framework.response import Response
from rest_framework.test import APIClient

from tests.bots import bot as bots
from tests.bots import upload

ZIP = "application/zip"


def clone(client: APIClient, bot_id: str, **fields: Any) -> Response:
    return client.post(f"/bot/{bot_id}/clone", fields, format="json")


def export(client: APIClient, bot_id: str) -> dict[str, Any]:
    document: dict[str, Any] = bots.body(client.get(f"/bot/{bot_id}/export"))
    return document


def export_zip(client: APIClient, bot_id: str) -> bytes:
    response = client.get(f"/bot/{bot_id}/export", {"files": "true"})
    assert (response.status_code, response.headers["Content-Type"]) == (200, ZIP), response.content
    return response.getvalue()


def bring(client: APIClient, document: Any) -> Response:
    """Imports a document."""
    return client.post("/bot/import", document, format="json")


def bring_zip(client: APIClient, body: bytes) -> Response:
    return client.generic("POST", "/bot/import", body, content_type=ZIP)


def zipped(entries: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, body in entries.items():
            archive.writestr(name, body)
    return file.getvalue()


def named(name: str, body: bytes) -> dict[str, Any]:
    """A file as a document names it."""
    return {"filename": name, "digest": upload.digest(body), "size": len(body)}


def make_with_file(client: APIClient, bot_id: str, name: str, body: bytes, **fields: Any) -> dict[str, Any]:
    upload.upload(client, bot_id, name, body)
    return bots.make(client, bot_id, knowledge=upload.sources(name), **fields)


def content_of(bot: Mapping[str, Any]) -> dict[str, Any]:
    """What a copy has in common with its bot."""
    own = {"id", "createTime", "lastUsedTime", "ownerUserId", "version", "warnings", "allowCloning", "sharedScope"}
    own |= {"sharedStatus", "allowedCognitoUsers", "allowedCognitoGroups", "syncStatus", "syncStatusReason"}
    content = {name: value for name, value in bot.items() if name not in own}
    tools = [dict(tool) for tool in content["agent"]["tools"]]
    for tool in tools:
        if tool.get("firecrawlConfig"):
            tool["firecrawlConfig"] = {**tool["firecrawlConfig"], "apiKey": ""}
    guardrails = content["bedrockGuardrails"]
    if guardrails:
        guardrails = {**guardrails, "guardrailArn": "", "guardrailVersion": ""}
    return {**content, "agent": {"tools": tools}, "bedrockGuardrails": guardrails}
