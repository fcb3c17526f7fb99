"""A site of pages of 28 KB, in a process of its own: `python -m tests.bench.knowledge_site PAGES` prints its address.

Pages under `/tagged/` have an ETag and are answered 304 where they are known, those under `/plain/` have none. Each
leads to forty others, twenty of which are on every page, as a menu is.
"""

import hashlib
import random
import socket
import sys
import threading
from functools import cache

MENU, OWN, PARAGRAPHS, WORDS = 20, 20, 5, 90
SCRIPT_BYTES = 22_000
VOCABULARY = [
    "holiday",
    "leave",
    "travel",
    "hotel",
    "train",
    "euro",
    "year",
    "service",
    "handbook",
    "company",
    "office",
    "policy",
]


@cache
def page(folder: str, number: int, pages: int) -> tuple[bytes, str]:
    """A page and its ETag, the same in each process."""
    chance = random.Random(f"{folder}{number}")
    linked = [*range(MENU), *(chance.randrange(pages) for _ in range(OWN)), min(number + 1, pages - 1)]
    links = "".join(f'<li><a href="/{folder}/{other}">Page {other}</a></li>' for other in linked)
    paragraphs = "".join(
        f"<p>{' '.join(chance.choices(VOCABULARY, k=WORDS))}. Page {number} says {chance.random()}.</p>"
        for _ in range(PARAGRAPHS)
    )
    body = (
        f"<html><head><title>Page {number}</title><script>{'x' * SCRIPT_BYTES}</script></head>"
        f"<body><ul>{links}</ul><article><h1>Page {number}</h1>{paragraphs}</article></body></html>"
    ).encode()
    return body, f'"{hashlib.sha256(body).hexdigest()}"'


def answer(connection: socket.socket, pages: int) -> None:
    with connection:
        request = b""
        while b"\r\n\r\n" not in request:
            if not (piece := connection.recv(65_536)):
                return
            request += piece
        _, folder, *rest = request.split(b" ", 2)[1].decode().split("/")
        if folder not in ("tagged", "plain"):
            connection.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        body, tag = page(folder, int(rest[0] or 0), pages)
        head = "Content-Type: text/html; charset=utf-8\r\nConnection: close\r\n"
        if folder == "tagged":
            head += f"ETag: {tag}\r\n"
        if folder == "tagged" and tag.encode() in request:
            connection.sendall(f"HTTP/1.1 304 Not Modified\r\n{head}\r\n".encode())
        else:
            connection.sendall(f"HTTP/1.1 200 OK\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)


def main(pages: int) -> None:
    server = socket.create_server(("127.0.0.1", 0), backlog=128)
    print("http://{}:{}".format(*server.getsockname()), flush=True)
    while True:
        connection, _ = server.accept()
        threading.Thread(target=answer, args=(connection, pages), daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
