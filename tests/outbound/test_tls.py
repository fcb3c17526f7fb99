"""A name is kept for TLS: it is what the server is told and what its certificate must have, whatever the address."""

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bedrock_chat.outbound import connecting
from bedrock_chat.outbound.faults import NotTrusted
from tests.outbound.conftest import Post
from tests.outbound.servers import Names, Server, certified, plain

pytestmark = pytest.mark.usefixtures("local")
CREDENTIAL = {"Authorization": "Bearer secret"}


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """A server's context, of an authority that this process trusts, for a name and an address."""
    authority, context = certified(tmp_path, "search.test", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    connecting._tls.cache_clear()
    yield context
    connecting._tls.cache_clear()


def test_the_name_is_told_and_verified_though_an_address_is_called(
    tls: ssl.SSLContext, names: Names, post: Post
) -> None:
    told_names = list[str | None]()
    tls.sni_callback = lambda _, name, __: told_names.append(name)
    names["search.test"] = [["127.0.0.1"]]
    with Server(plain(), tls=tls) as server:
        assert post(f"https://search.test:{server.port}/", credential_headers=CREDENTIAL).status == 200
        assert f"\r\nHost: search.test:{server.port}\r\n" in server.requests[0]
    assert told_names == ["search.test"]
    assert names.lookups == ["search.test"]


def test_an_address_has_a_certificate_of_its_own(tls: ssl.SSLContext, post: Post) -> None:
    with Server(plain(), tls=tls) as server:
        assert post(f"https://127.0.0.1:{server.port}/").status == 200


@pytest.mark.parametrize("url", ["https://other.test", "https://127.0.0.2"])
def test_a_certificate_for_another_name_is_refused_before_anything_is_sent(
    tls: ssl.SSLContext, names: Names, post: Post, url: str
) -> None:
    names["other.test"] = [["127.0.0.1"]]
    with Server(plain(), tls=tls, host="0.0.0.0") as server:
        with pytest.raises(NotTrusted):
            post(f"{url}:{server.port}/", credential_headers=CREDENTIAL)
        assert server.requests in ([], [""])


def test_a_certificate_of_nobody_known_is_refused(tmp_path: Path, names: Names, post: Post) -> None:
    _, context = certified(tmp_path, "search.test")
    names["search.test"] = [["127.0.0.1"]]
    with Server(plain(), tls=context) as server, pytest.raises(NotTrusted):
        post(f"https://search.test:{server.port}/")


def test_what_speaks_no_tls_is_not_trusted(post: Post) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(65536)

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises(NotTrusted):
            post(f"https://127.0.0.1:{listener.getsockname()[1]}/", seconds=5)
