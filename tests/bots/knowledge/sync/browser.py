"""Alice's browser, as the frontend drives it: over a server of its own."""

from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from tests.live import LiveServer
from tests.serving.conftest import eventually


class Browser:
    """Alice's browser."""

    def __init__(self, server: LiveServer) -> None:
        self.server = server
        self.token = server.manage("issue_token", "alice")

    def call(self, method: str, path: str, body: Any = None) -> Any:
        status, answer = self.server.call(method, path, body, token=self.token)
        assert status == 200, answer
        return answer

    def upload(self, bot_id: str, name: str, content: bytes, content_type: str) -> None:
        query = f"filename={quote(name)}&contentType={quote(content_type)}"
        url = self.call("GET", f"/bot/{bot_id}/presigned-url?{query}")["url"]
        headers = {"Content-Type": content_type}
        assert httpx.put(self._here(url), content=content, headers=headers).status_code == 200

    def poll(self, bot_id: str, *, seconds: float = 60) -> dict[str, Any]:
        """Reads the bot while its sync is wanted or runs, as its page does."""
        bot: dict[str, Any] = {}

        def is_over() -> bool:
            nonlocal bot
            bot = self.call("GET", f"/bot/private/{bot_id}")
            return bot["syncStatus"] not in ("QUEUED", "RUNNING")

        assert eventually(is_over, seconds), bot
        return bot

    def cited(self, conversation: str) -> list[dict[str, Any]]:
        documents: list[dict[str, Any]] = self.call("GET", f"/conversation/{conversation}/related-documents")
        return documents

    def open(self, address: str) -> httpx.Response:
        """Without a token, as a new tab does."""
        return httpx.get(self._here(address))

    def _here(self, address: str) -> str:
        parts = urlsplit(address)
        return f"{self.server.url}{parts.path}?{parts.query}"
