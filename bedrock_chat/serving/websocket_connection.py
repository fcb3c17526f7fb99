"""One WebSocket connection: uvicorn's, with small messages until its client is known."""

from typing import Any

from uvicorn import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.http11 import Request

from bedrock_chat.serving.connections import Connections
from bedrock_chat.serving.outflow import OUTFLOW, Outflow

LARGEST_FIRST_MESSAGE = 64 * 1024
TRUST = "bedrock_chat.trust"
"""The key of a scope's `extensions` that holds a function: its client is known, and may send messages of full size."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], *, registry: Connections
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._registry = registry
        self.conn.max_message_size = LARGEST_FIRST_MESSAGE

    def connection_lost(self, exc: Exception | None) -> None:
        self._registry.close(self.transport)
        super().connection_lost(exc)

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions |= {OUTFLOW: Outflow(self.transport), TRUST: self._trust}

    def _trust(self) -> None:
        self.conn.max_message_size = self.config.ws_max_size
