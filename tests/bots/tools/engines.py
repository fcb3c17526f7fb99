"""DuckDuckGo's page and Firecrawl's search as a local HTTP server, which a word in the query makes fail.

`((500))` answers that status, `((hang))` never answers, `((drip))` sends a byte now and then, `((endless))` never ends,
`((gzip))` unpacks to 100 MB, `((redirect))` leads elsewhere, `((nothing))` finds nothing, `((broken))` is neither JSON
nor a page, `((echo))` shows the key that it was sent.
"""

import gzip
import html
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

RESULTS = [
    ("Tides explained", "https://example.com/tides", "The moon pulls the sea."),
    ("Tide tables", "https://example.org/tables?x=1&y=2", "Times of high water & low water."),
]
WAITS = ("hang", "drip", "endless")


@dataclass
class Sent:
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Engines:
    """`requests` are those so far. `hung` is set once a request hangs."""

    url: str
    requests: list[Sent] = field(default_factory=list)
    hung: threading.Event = field(default_factory=threading.Event)
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def duckduckgo(self) -> str:
        return f"{self.url}/html/"


@contextmanager
def running() -> Iterator[Engines]:
    engines = Engines("")

    class Handler(_Handler):
        served = engines

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    engines.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield engines
    finally:
        engines.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: Engines
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        is_page = self.path == "/html/"
        body = {name: values[0] for name, values in parse_qs(raw.decode()).items()} if is_page else json.loads(raw)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.served.requests.append(Sent(self.path, headers, body))
        query = body.get("q" if is_page else "query", "")
        word = match[1] if (match := re.search(r"\(\((\w+)\)\)", query)) else ""
        with suppress(OSError):
            if word in WAITS:
                self._wait(word)
            elif word == "redirect":
                self._answer(302, b"", Location="/html/")
            elif word.isdigit():
                self._answer(int(word), b'{"success": false, "error": "No, and your key is SECRET."}')
            elif word == "gzip":
                self._answer(200, gzip.compress(b"x" * 100_000_000, 1), **{"Content-Encoding": "gzip"})
            elif word == "broken":
                self._answer(200, b"<" if is_page else b'{"data": [')
            else:
                self._answer(200, _page(word) if is_page else _found(word, body, headers))

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _wait(self, word: str) -> None:
        self.close_connection = True
        self.served.hung.set()
        if word == "hang":
            self.served.over.wait(30)
            return
        self.send_response(200)
        self.end_headers()
        while not self.served.over.is_set():
            self.wfile.write(b" " * (100_000 if word == "endless" else 1))
            if word == "drip":
                time.sleep(0.05)


def _page(word: str) -> bytes:
    """As html.duckduckgo.com has it: an advertisement, and the results."""
    entries = [("Buy tides", "https://duckduckgo.com/y.js?ad_domain=x", "Cheap tides"), *RESULTS]
    shown = (
        ""
        if word == "nothing"
        else "".join(
            f'<div class="result results_links_deep web-result"><div class="links_main links_deep result__body">'
            f'<h2 class="result__title"><a rel="nofollow" class="result__a" href="{html.escape(url)}">{title}</a></h2>'
            f'<div class="result__extras"><a class="result__url" href="{html.escape(url)}">{html.escape(url)}</a></div>'
            f'<a class="result__snippet" href="{html.escape(url)}">{html.escape(text)}</a></div></div>'
            for title, url, text in entries
        )
    )
    return f"<!DOCTYPE html><html><body><div class='serp__results'>{shown}</div></body></html>".encode()


def _found(word: str, body: dict[str, Any], headers: dict[str, str]) -> bytes:
    entries = [
        {
            "url": url,
            "title": title,
            "description": text,
            "markdown": f"# {title}\n\n{text}",
            "metadata": {"statusCode": 200},
        }
        for title, url, text in RESULTS[: body["limit"]]
    ]
    if word == "nothing":
        entries = []
    if word == "long":
        entries[0]["markdown"] = "y" * 10_000
    if word == "edge":  # the key stands where the page is cut
        entries[0]["markdown"] = "y" * 3_990 + headers["authorization"].partition(" ")[2]
        entries[0]["title"] = "t" * 490 + headers["authorization"].partition(" ")[2]
    if word == "echo":
        entries[0]["markdown"] = f"You sent {headers['authorization']}"
    return json.dumps({"success": True, "data": entries if word == "old" else {"web": entries}}).encode()
