"""The load generator: keep-alive HTTP on plain sockets, a thread for each connection, as little work as possible."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit


class Connection:
    """One keep-alive connection."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._host = parts.netloc
        self._socket = socket.create_connection((parts.hostname, parts.port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self._socket.makefile("rb", 1 << 16)

    def request(self, method: str, path: str, body: bytes = b"", token: str = "") -> int:
        """Sends a request and reads the answer. Returns its size. Raises RuntimeError for any status but 200."""
        self._send(method, path, body, token)
        status, length = self._head()
        answer = self._file.read(length)
        if b" 200 " not in status:
            raise RuntimeError(f"{status!r} {answer[:200]!r}")
        return length

    def stream(self, path: str, body: bytes, token: str) -> bytes:
        """Sends a POST and reads the event stream that answers it, to its end. Raises RuntimeError for any other status
        than 200.
        """
        self._send("POST", path, body, token, "Accept: text/event-stream\r\n")
        status, length = self._head()
        if b" 200 " not in status:
            raise RuntimeError(f"{status!r} {self._file.read(length)[:200]!r}")
        chunks = []
        while size := int(self._file.readline(), 16):
            chunks.append(self._file.read(size))
            self._file.readline()
        self._file.readline()
        return b"".join(chunks)

    def _send(self, method: str, path: str, body: bytes, token: str, fields: str = "") -> None:
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nAuthorization: Bearer {token}\r\n{fields}"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)

    def _head(self) -> tuple[bytes, int]:
        """The status line of the answer, and its Content-Length (0 if it has none)."""
        status = self._file.readline()
        length = 0
        while (line := self._file.readline()) not in (b"\r\n", b""):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        return status, length

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def run(
    url: str,
    connections: int,
    requests: int,
    send: Callable[[Connection, int], object],
    kind: type[Connection] = Connection,
) -> list[float]:
    """Calls `send(connection, number)` for each number, over so many connections. Returns sorted latencies in ms.

    Raises the first error of a connection.
    """
    numbers: Iterator[int] = iter(range(requests))
    lock, latencies, errors = threading.Lock(), list[float](), list[BaseException]()

    def work() -> None:
        connection = kind(url)
        try:
            while True:
                with lock:
                    number = next(numbers, None)
                if number is None:
                    return
                started = time.perf_counter()
                send(connection, number)
                latencies.append((time.perf_counter() - started) * 1000)
        except BaseException as error:
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sorted(latencies)


def percentile(latencies: list[float], share: float) -> float:
    return latencies[min(len(latencies) - 1, int(len(latencies) * share))]


def shares(latencies: list[float], cpu: list[float]) -> dict[str, float]:
    """p50 and p95 of milliseconds that passed, and of those of CPU."""
    return {
        f"{name}P{share}Ms" if name else f"p{share}Ms": round(percentile(sorted(some), share / 100), 1)
        for name, some in (("", latencies), ("cpu", cpu))
        for share in (50, 95)
    }
