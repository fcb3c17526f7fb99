"""An address of keys that stalls: nobody waits longer than its time-out, in whatever phase it stalls."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bedrock_chat.identity import jwks
from bedrock_chat.identity.jwks import CachedKeys, fetch
from bedrock_chat.identity.tokens import InvalidToken, TokenVerifier, TrustedIssuer
from bedrock_chat.resilience.dependencies import State
from tests import servers
from tests.identity.test_jwks import Clock
from tests.stalling import BLACK_HOLE, SLOW_DRIP, STOPPED, Proxy, once, unresolved_names
from tests.tokens import CLIENT, ISSUER, make_key, make_token

KEY = make_key()
TIMEOUT = 1.0
LONGEST = TIMEOUT + 1.5  # the latter for a busy machine


@pytest.fixture(scope="module")
def proxy(data: Path) -> Iterator[Proxy]:
    with servers.keys(data, k1=KEY) as server, Proxy(server) as proxy:
        yield proxy


@pytest.mark.parametrize(
    "fault", [SLOW_DRIP, *(pytest.param(fault, marks=[pytest.mark.slow, once]) for fault in (STOPPED, BLACK_HOLE))]
)
def test_known_keys_serve_on_and_unknown_ones_are_refused_in_time(proxy: Proxy, fault: str) -> None:
    clock = Clock()
    keys = CachedKeys(lambda: fetch(proxy.url, timeout=TIMEOUT), stale_seconds=60, patience=TIMEOUT + 1, clock=clock)
    verifier = TokenVerifier([TrustedIssuer(ISSUER, (CLIENT,), keys)])
    assert verifier.verify(make_token(KEY)).username == "alice"
    clock.now += 31  # the cool-down
    rotated = make_token(KEY, kid="rotated")

    def refused(_: int) -> float:
        started = time.monotonic()
        with pytest.raises(InvalidToken):
            verifier.verify(rotated)
        return time.monotonic() - started

    with proxy.having(fault), ThreadPoolExecutor(10) as pool:
        first = pool.submit(refused, 0)
        time.sleep(0.1)
        started = time.monotonic()
        assert verifier.verify(make_token(KEY, email="a@b.example")).email == "a@b.example"
        assert time.monotonic() - started < 0.5
        assert max(first.result(), *pool.map(refused, range(9))) < LONGEST
        assert jwks.IDENTITY.state == State.NO_ANSWER
    clock.now += 31
    assert keys.key("rotated") is None
    assert jwks.IDENTITY.state == State.OK


@pytest.mark.parametrize(
    "beginning",
    [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
    ids=["before a status", "in a header", "in the body"],
)
def test_an_answer_that_drips_is_cut_off_and_leaves_no_thread_behind(beginning: bytes) -> None:
    done, left = threading.Event(), threading.Event()

    def drip(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            peer.recv(65_536)
            peer.sendall(beginning)
            with contextlib.suppress(OSError):
                while not done.wait(0.05):
                    peer.sendall(b"H")
            left.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,))
        server.start()
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            fetch(f"http://127.0.0.1:{listener.getsockname()[1]}/", timeout=0.3)
        assert time.monotonic() - started < 2
        assert left.wait(5)  # its connection was broken, and not only left
        done.set()
        server.join()


def test_a_host_name_that_is_not_resolved_is_waited_for_no_longer() -> None:
    with unresolved_names():
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            fetch("https://keys.example/", timeout=0.3)
        assert time.monotonic() - started < 2
