"""Short calls of the API: say something, read a conversation."""

from typing import Any

from rest_framework.response import Response
from rest_framework.test import APIClient

MODEL = "claude-v3.7-sonnet"


def payload(
    conversation: str, content: str | list[dict[str, Any]], *, model: str = MODEL, **fields: Any
) -> dict[str, Any]:
    """A request body; `parent`, `message_id`, `bot_id` and the switches go where they belong."""
    blocks = [{"contentType": "text", "body": content}] if isinstance(content, str) else content
    message: dict[str, Any] = {"role": "user", "content": blocks, "model": model}
    message["parentMessageId"] = fields.pop("parent", None)
    if "message_id" in fields:
        message["messageId"] = fields.pop("message_id")
    names = {"bot_id": "botId", "continue_generate": "continueGenerate", "enable_reasoning": "enableReasoning"}
    return {"conversationId": conversation, "message": message, **{names[key]: value for key, value in fields.items()}}


def say(client: APIClient, conversation: str, content: str | list[dict[str, Any]], **fields: Any) -> Response:
    return client.post("/conversation", payload(conversation, content, **fields), format="json")


def read(client: APIClient, conversation: str) -> dict[str, Any]:
    response = client.get(f"/conversation/{conversation}")
    assert response.status_code == 200, response.content
    return response.json()


def text_of(message: dict[str, Any]) -> str:
    return "".join(block["body"] for block in message["content"] if block["contentType"] == "text")


def ids_by_text(conversation: dict[str, Any]) -> dict[str, str]:
    """Text → message id, to find messages in a tree by their text."""
    return {text_of(message): key for key, message in conversation["messageMap"].items()}
