"""The one proxy is the settings', and it is given addresses that were judged."""

import contextlib
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from bedrock_chat import environment
from bedrock_chat.outbound import connecting
from bedrock_chat.outbound.faults import NotAllowed, TimedOut, Unreachable
from tests.outbound.conftest import Post
from tests.outbound.servers import Names, Server, certified, plain, raw
from tests.outbound.test_hanging import silent


def tunnel(connection: socket.socket, request_line: str) -> None:
    """Connects to that port of this machine, which plays the public internet, and passes on what both sides send."""
    port = int(request_line.split(" ")[1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as onward:
        connection.sendall(b"HTTP/1.1 200 Connection established\r\nVia: proxy\r\n\r\n")
        back = threading.Thread(target=_pass_on, args=(onward, connection), daemon=True)
        back.start()
        _pass_on(connection, onward)
        back.join(5)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_asked_for_the_address_that_was_judged(
    names: Names, post: Post, settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    authority, context = certified(tmp_path, "search.test")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    connecting._tls.cache_clear()
    names["search.test"], names["proxy.test"] = [["8.8.8.8", "2001:4860::1"], ["10.0.0.1"]], [["127.0.0.1"]]
    with Server(tunnel) as proxy, Server(plain(), tls=context if scheme == "https" else None) as server:
        settings.OUTBOUND_PROXY = f"http://user:p%40ss@proxy.test:{proxy.port}"
        assert post(f"{scheme}://search.test:{server.port}/").status == 200
        assert proxy.requests[0].startswith(f"CONNECT 8.8.8.8:{server.port} HTTP/1.1\r\n")
        assert "\r\nProxy-Authorization: Basic dXNlcjpwQHNz\r\n" in proxy.requests[0]
        assert f"\r\nHost: search.test:{server.port}\r\n" in server.requests[0]
        assert "Proxy-Authorization" not in server.requests[0]
    connecting._tls.cache_clear()


def test_a_proxy_makes_no_private_address_a_public_one(post: Post, settings: Any) -> None:
    with Server(tunnel) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        with pytest.raises(NotAllowed):
            post("http://10.0.0.1/")
        assert not proxy.accepted.is_set()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Login\r\n\r\n", b"HTTP/1.1 502 Bad\r\n\r\n", b"", b"x" * 20_000])
def test_a_proxy_that_does_not_connect_is_a_server_that_cannot_be_reached(
    post: Post, settings: Any, answer: bytes
) -> None:
    with Server(raw(answer)) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        with pytest.raises(Unreachable):
            post("http://8.8.8.8/")


def test_a_proxy_that_hangs_costs_the_deadline(post: Post, settings: Any) -> None:
    with Server(silent) as proxy:
        settings.OUTBOUND_PROXY = proxy.url
        with pytest.raises(TimedOut):
            post("http://[2001:4860:4860::8888]/", seconds=0.2)
        assert proxy.requests[0].startswith("CONNECT [2001:4860:4860::8888]:80 HTTP/1.1\r\n")


@pytest.mark.usefixtures("local")
def test_a_private_address_that_operators_allow_is_called_without_the_proxy(post: Post, settings: Any) -> None:
    with Server(tunnel) as proxy, Server(plain()) as server:
        settings.OUTBOUND_PROXY = proxy.url
        assert post(server.url).status == 200
        assert not proxy.accepted.is_set()


@pytest.mark.usefixtures("local")
def test_proxies_of_the_environment_are_not_asked(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    with Server(tunnel) as proxy, Server(plain()) as server:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        assert post(server.url).status == 200
        assert not proxy.accepted.is_set()


@pytest.mark.parametrize("value", ["https://proxy:3128", "socks5://secret@proxy", "proxy:3128", "http://:secret@"])
def test_what_is_no_http_proxy_stops_the_start_and_is_not_repeated(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OUTBOUND_PROXY", value)
    with pytest.raises(ImproperlyConfigured, match="OUTBOUND_PROXY") as refused:
        environment.proxy_url("OUTBOUND_PROXY")
    assert "secret" not in str(refused.value)
