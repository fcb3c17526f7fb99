"""One WebSocket connection: uvicorn's, with small messages until its client is known, and few small frames."""

from typing import Any

from uvicorn import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.exceptions import ProtocolError
from websockets.frames import Frame
from websockets.http11 import Request

from bedrock_chat.serving.connections import Connections
from bedrock_chat.serving.http_connection import refusal
from bedrock_chat.serving.outflow import OUTFLOW, Outflow
from bedrock_chat.wire.errors import BadRequest

LARGEST_FIRST_MESSAGE = 64 * 1024
MOST_UNSENT = 64 * 1024
"""Bytes that wait for the client, beyond which its pings are not answered."""
FIRST_FRAMES, BYTES_PER_FRAME = 1000, 256
"""So many frames a connection may send, another one for so many bytes, and one a second: a thousand empty ones cost as
much time as a megabyte of text."""
TRUST = "bedrock_chat.trust"
"""The key of a scope's `extensions` that holds a function: its client is known, and may send messages of full size."""


class WebSocketConnection(WebSocketsSansIOProtocol):
    def __init__(
        self, config: Config, server_state: ServerState, app_state: dict[str, Any], *, registry: Connections
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._registry = registry
        self._bytes_received = self._frames_received = 0
        self._opened_at = self.loop.time()
        self.conn.max_message_size = LARGEST_FIRST_MESSAGE
        self._receive_frame = self.conn.recv_frame
        self.conn.recv_frame = self._count_frame  # type: ignore[method-assign]  # called for each frame that is parsed

    def connection_lost(self, exc: Exception | None) -> None:
        self._registry.close(self.transport)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._bytes_received += len(data)
        super().data_received(data)
        if self.conn.handshake_exc is not None and not self.handshake_complete:
            self.handshake_complete = self.close_sent = True
            self.transport.write(refusal(BadRequest("This is no handshake of a WebSocket."), None))
            self.transport.close()

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions |= {OUTFLOW: Outflow(self.transport), TRUST: self._trust}

    def send_receive_event_to_app(self) -> None:
        """A text that is no UTF-8 comes as bytes, which the application refuses with a word. Uvicorn would log it as a
        fault of the server's, and stumble where the client closes in the same breath.
        """
        if self.curr_msg_data_type == "text":
            self.frames = [b"".join(self.frames)]
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self.curr_msg_data_type = "bytes"
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        if self.transport.get_write_buffer_size() > MOST_UNSENT:
            self.conn.data_to_send()  # drops the pong
        else:
            super().handle_ping()

    def _count_frame(self, frame: Frame) -> None:
        """Raises ProtocolError, which closes the connection, for too many frames of too few bytes."""
        self._frames_received += 1
        most = FIRST_FRAMES + self._bytes_received // BYTES_PER_FRAME + self.loop.time() - self._opened_at
        if self._frames_received > most:
            raise ProtocolError("too many small frames")
        self._receive_frame(frame)

    def _trust(self) -> None:
        self._registry.begin(self.transport)  # from now on it gives way to no other connection
        self.conn.max_message_size = self.config.ws_max_size
