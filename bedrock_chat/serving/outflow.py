"""What a client has not taken yet, and the floor below which it is let go."""

import asyncio
import fcntl
import struct
import sys
import termios
from collections.abc import Callable

OUTFLOW = "bedrock_chat.outflow"
"""The key of a scope's `extensions` that holds its Outflow."""

FLOOR_SECONDS = 30.0
FLOOR_BYTES = 1024
"""Bytes per second, over FLOOR_SECONDS. A client that takes less while bytes wait for it, or sends less of a body, is
let go."""
LOOKS = 6
"""Looks at a client in FLOOR_SECONDS."""


class Outflow:
    """The sending half of a connection, while one request is answered. Uvicorn writes to it as to a transport."""

    _has_body = True
    _joins = False
    _head = b""

    def __init__(self, transport: asyncio.Transport, *, has_body: bool = True) -> None:
        self._transport = transport
        self._has_body = has_body

    def join(self) -> None:
        """Have the next two writes, the head of a response and its body, go out as one: one system call, one packet.

        The answer to HEAD has one write alone, which goes out by itself.
        """
        self._joins = self._has_body

    def write(self, data: bytes | memoryview) -> None:
        if self._joins:
            self._joins, self._head = False, bytes(data)
        elif self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        else:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection once all is sent. A head whose body failed goes out alone."""
        if self._head:
            self.write(b"")
        self._transport.close()

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def is_free(self) -> bool:
        """Whether nothing waits in this process, so that the next bytes go out at once."""
        return not self._transport.get_write_buffer_size()

    def unsent(self) -> int:
        """Bytes that the client has not acknowledged: in this process, and on Linux in the system's buffer."""
        return self._transport.get_write_buffer_size() + self._in_system()

    def abort(self) -> None:
        """Close the connection at once, and drop what is unsent."""
        self._transport.abort()

    def _in_system(self) -> int:
        if sys.platform != "linux" or self._transport.is_closing():
            return 0
        try:
            queued = fcntl.ioctl(self._transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        except (OSError, ValueError):  # closed meanwhile
            return 0
        return int(struct.unpack("i", queued)[0])


class Floor:
    """Judges a client by how many bytes have moved, whenever it is asked."""

    def __init__(self) -> None:
        self._mark: tuple[float, int] | None = None

    def is_below(self, now: float, moved: int) -> bool:
        """Whether the client has been too slow for FLOOR_SECONDS. `now` is in seconds, `moved` counts all bytes."""
        if self._mark is None:
            self._mark = now, moved
        since, before = self._mark
        if now - since < FLOOR_SECONDS:
            return False
        self._mark = now, moved
        return moved - before < FLOOR_BYTES * (now - since)

    def rest(self) -> None:
        """Nothing waits for the client: its slowness is not its own."""
        self._mark = None


class SlowReader:
    """Calls `let_go` once a client that is sent `written` bytes takes them too slowly."""

    def __init__(self, outflow: Outflow, let_go: Callable[[], object]) -> None:
        self._outflow, self._let_go = outflow, let_go
        self._loop = asyncio.get_running_loop()
        self._floor = Floor()
        self.written = 0
        self._written_before = 0  # at the last look
        self._timer = self._loop.call_later(FLOOR_SECONDS / LOOKS, self._look)

    def _look(self) -> None:
        taken = self.written - self._outflow.unsent()
        if taken >= self._written_before:  # what waited at the last look is taken; the rest is on its way
            self._floor.rest()
        elif self._floor.is_below(self._loop.time(), taken):
            self._let_go()
            return
        self._written_before = self.written
        self._timer = self._loop.call_later(FLOOR_SECONDS / LOOKS, self._look)

    def end(self) -> None:
        self._timer.cancel()
