"""Short calls of publications and of published APIs."""

import json
import warnings
from dataclasses import dataclass
from typing import Any

from django.db.models import Model
from rest_framework.test import APIClient

from bedrock_chat.jobs import queue
from bedrock_chat.wire.event_stream import EVENT_STREAM
from publication import running
from tests.bots.bot import body, payload
from tests.listening import Event
from tests.live import LiveServer

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

    def listen(self, text: str = "hello", **fields: Any) -> list[Event]:
        """Asks, and listens to the whole answer."""
        return events_of(self.post(question(text, **fields), HTTP_ACCEPT=EVENT_STREAM))

    def resume(self, conversation: str, message: str, last: str = "") -> list[Event]:
        """Comes back to an answer, and listens to the rest."""
        headers = {"HTTP_LAST_EVENT_ID": last} if last else {}
        return events_of(self.get(f"/conversation/{conversation}/{message}/stream", **headers))

    def stop(self, conversation: str, message: str, key: str | None = None) -> Any:
        used = self.key if key is None else key
        return self.client.post(f"{self.path}/conversation/{conversation}/{message}/stop", HTTP_X_API_KEY=used)

    def answer(self, conversation: str, message: str) -> Any:
        return self.get(f"/conversation/{conversation}/{message}")


def events_of(response: Any) -> list[Event]:
    """The events of a stream, when it has ended."""
    assert response.status_code == 200, response.content
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # WSGI, only in tests, collects event streams
        text = b"".join(response).decode()
    events = []
    for block in text.split("\n\n"):
        fields = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if fields:
            events.append(Event(fields["event"], json.loads(fields["data"]), fields.get("id", "")))
    return events


def publish(owner: APIClient, bot_id: str, sent: Any = None) -> Api:
    """Publishes a bot, and returns its API with the first key."""
    assert body(owner.post(f"/bot/{bot_id}/publication", sent or UNLIMITED, format="json")) is None
    shown = body(owner.get(f"/bot/{bot_id}/publication"))
    [key_id] = shown["apiKeyIds"]
    key = body(owner.get(f"/bot/{bot_id}/publication/api-key/{key_id}"))["value"]
    return Api("/published/" + shown["endpoint"].partition("/published/")[2], key, APIClient())


@dataclass(frozen=True)
class LiveApi:
    """A published API of a server that is a process of its own, and a key of it."""

    url: str
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"x-api-key": self.key}


def publish_live(server: LiveServer, bot_id: str, sent: Any = None) -> LiveApi:
    """Dave makes a bot there, and publishes it."""
    token = server.manage("issue_token", "dave", "--group", "CreatingBotAllowed", "--group", "PublishAllowed")

    def owner(method: str, path: str, sent: Any = None) -> Any:
        status, answer = server.call(method, path, sent, token=token)
        assert status == 200, answer
        return answer

    owner("POST", "/bot", payload(bot_id))
    owner("PATCH", f"/bot/{bot_id}/visibility", {"targetSharedScope": "all"})
    owner("POST", f"/bot/{bot_id}/publication", sent or UNLIMITED)
    [key_id] = owner("GET", f"/bot/{bot_id}/publication")["apiKeyIds"]
    key = owner("GET", f"/bot/{bot_id}/publication/api-key/{key_id}")["value"]
    return LiveApi(f"{server.url}/published/{bot_id}/api", key)


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
