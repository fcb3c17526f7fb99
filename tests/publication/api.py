"""Short calls of publications and of published APIs."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from rest_framework.test import APIClient

from bedrock_chat.jobs import queue
from publication import running
from tests.bots.bot import body

UNLIMITED: dict[str, Any] = {
    "stage": None,
    "quota": {"limit": None, "offset": None, "period": None},
    "throttle": {"rateLimit": None, "burstLimit": None},
    "allowedOrigins": ["*"],
}


def limits(
    quota: int | None = None, period: str = "DAY", rate: float | None = None, burst: int | None = None, **fields: Any
) -> dict[str, Any]:
    """The body of a publication with these limits."""
    return {
        **UNLIMITED,
        "quota": {"limit": quota, "offset": 0, "period": None if quota is None else period},
        "throttle": {"rateLimit": rate, "burstLimit": burst},
        **fields,
    }


def question(text: str = "hello", **fields: Any) -> dict[str, Any]:
    message = {"content": [{"contentType": "text", "body": text}], "model": "claude-v3.7-sonnet"}
    return {"message": message, **fields}


@dataclass
class Api:
    """A published API, and a key of it."""

    path: str
    key: str
    client: APIClient

    def get(self, path: str, key: str | None = None, **headers: str) -> Any:
        return self.client.get(self.path + path, HTTP_X_API_KEY=self.key if key is None else key, **headers)

    def post(self, sent: Any, key: str | None = None, **headers: str) -> Any:
        used = self.key if key is None else key
        return self.client.post(f"{self.path}/conversation", sent, format="json", HTTP_X_API_KEY=used, **headers)

    def ask(self, text: str = "hello", **fields: Any) -> tuple[str, str]:
        """Asks. Returns the ids of conversation and message."""
        accepted = body(self.post(question(text, **fields)))
        return accepted["conversationId"], accepted["messageId"]

    def answer(self, conversation: str, message: str) -> Any:
        return self.get(f"/conversation/{conversation}/{message}")


def publish(owner: APIClient, bot_id: str, sent: Any = None) -> Api:
    """Publishes a bot, and returns its API with the first key."""
    assert body(owner.post(f"/bot/{bot_id}/publication", sent or UNLIMITED, format="json")) is None
    shown = body(owner.get(f"/bot/{bot_id}/publication"))
    [key_id] = shown["apiKeyIds"]
    key = body(owner.get(f"/bot/{bot_id}/publication/api-key/{key_id}"))["value"]
    return Api("/published/" + shown["endpoint"].partition("/published/")[2], key, APIClient())


def work(limit: int = 100) -> int:
    """Does the turns that are due, as a worker would. Returns how many."""
    claimed = [job for job in queue.claim("worker", limit) if job.kind == running.KIND]
    for job in claimed:
        try:
            running.run(job)
        except Exception as error:
            queue.fail(job, str(error))
    return len(claimed)


def stored(*kinds: type[Model]) -> list[Any]:
    """The rows of tables, to be compared with what they are later."""
    return [list(kind._default_manager.order_by("pk").values()) for kind in kinds]
