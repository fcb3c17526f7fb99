"""Short calls of a published API in OpenAI's language."""

import asyncio
import json
from typing import Any

from conversations.turn import registry
from tests.publication.api import Api
from tests.together import wait_for

PATH = "/v1/chat/completions"
SONNET, NOVA = "claude-v3.7-sonnet", "amazon-nova-lite"


def user(content: Any = "hello") -> dict[str, Any]:
    return {"role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def system(content: Any, role: str = "system") -> dict[str, Any]:
    return {"role": role, "content": content}


def image(png: str, kind: str = "image/png") -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{png}", "detail": "low"}}


def post(api: Api, *messages: dict[str, Any], key: str | None = None, **fields: Any) -> Any:
    """The response to a chat completion, asked for as OpenAI's clients do."""
    sent = {"model": SONNET, "messages": list(messages) or [user()], **fields}
    authorization = f"Bearer {api.key if key is None else key}"
    return api.client.post(api.path + PATH, sent, format="json", HTTP_AUTHORIZATION=authorization)


def complete(api: Api, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    response = post(api, *messages, **fields)
    assert response.status_code == 200, response.content
    completion: dict[str, Any] = response.json()
    return completion


def said(completion: dict[str, Any]) -> tuple[str, str]:
    """The text of a chat completion, and why it ended."""
    [choice] = completion["choices"]
    return choice["message"]["content"], choice["finish_reason"]


def stream(api: Api, *messages: dict[str, Any], **fields: Any) -> list[Any]:
    """The data of the events of a chat completion that is streamed, when nothing of it runs any more."""
    response = post(api, *messages, stream=True, **fields)
    assert response.status_code == 200, response.content

    async def collect() -> bytes:
        return b"".join([part async for part in response.streaming_content])

    try:
        return events_of(asyncio.run(collect()).decode())
    finally:
        response.close()
        wait_for(lambda: not registry.other_runs())


def events_of(text: str) -> list[Any]:
    """The data of events. Each is JSON, or the word at the end."""
    assert text.endswith("\n\n")
    blocks = [block for block in text[:-2].split("\n\n") if not block.startswith(":")]
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks), blocks
    data = [block.removeprefix("data: ") for block in blocks]
    return [one if one == "[DONE]" else json.loads(one) for one in data]


def error_of(response: Any) -> dict[str, Any]:
    """The error of a response, of which nothing else is told."""
    document = response.json()
    assert list(document) == ["error"]
    assert list(document["error"]) == ["message", "type", "param", "code"]
    error: dict[str, Any] = document["error"]
    return error
