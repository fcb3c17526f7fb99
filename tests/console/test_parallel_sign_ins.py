"""Many wrong passwords at once: few are hashed, the rest is refused before, and the true owner gets in meanwhile."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.db import connection

from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import passwords
from tests import minutes
from tests.console.operators import PASSWORD, make_operator, sign_in
from tests.console.sign_ins import SignIns
from tests.hashing import Hashing
from tests.live import LiveServer
from tests.together import wait_for

NOBODY = "http://127.0.0.1:9"
ATTACKER, OWNER = "192.0.2.1", "198.51.100.1"

# ---- Small, in this process -----------------------------------------------------------------------------------------


@pytest.fixture
def hashing(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hashing]:
    """Olga is an operator; no hash is done before the test says so, and no minute ends."""
    hashing = Hashing()
    monkeypatch.setattr(hashers, "pbkdf2", hashing)
    hashing.done.set()
    make_operator("olga")
    hashing.done.clear()
    hashing.calls = 0
    minutes.hold(monkeypatch)
    yield hashing
    hashing.done.set()


def attempt(login: str, password: str, address: str) -> int:
    """The status of a sign-in on a thread of its own: 200 failed, 302 succeeded."""
    try:
        status: int = sign_in(login, password, REMOTE_ADDR=address).status_code
        return status
    finally:
        release_connection(final=True)


@pytest.mark.parametrize("logins", ["one", "many"])
def test_the_rest_is_refused_before_a_hash_is_done_and_the_owner_waits_their_turn(
    hashing: Hashing, logins: str
) -> None:
    allowed = 5 if logins == "one" else 10
    with ThreadPoolExecutor(31) as pool:
        names = ["olga" if logins == "one" else f"login-{number}" for number in range(30)]
        attack = [pool.submit(attempt, name, "wrong", ATTACKER) for name in names]
        wait_for(lambda: sum(answer.done() for answer in attack) == 30 - allowed)
        assert [answer.result() for answer in attack if answer.done()] == [429] * (30 - allowed)
        assert hashing.calls == 2
        owner = pool.submit(attempt, "olga", PASSWORD, OWNER)
        wait_for(lambda: passwords._admitted._value == passwords.AT_A_TIME + passwords.MOST_WAITING - allowed - 1)
        hashing.done.set()
        assert owner.result(10) == 302
        assert sorted(answer.result(10) for answer in attack) == [200] * allowed + [429] * (30 - allowed)
    assert hashing.most == 2
    assert hashing.calls == allowed + 1


def test_from_many_addresses_the_rest_is_refused_too(hashing: Hashing) -> None:
    places = passwords.AT_A_TIME + passwords.MOST_WAITING
    with ThreadPoolExecutor(places + 10) as pool:
        attack = [pool.submit(attempt, "olga", "wrong", f"192.0.2.{number}") for number in range(places + 10)]
        wait_for(lambda: sum(answer.done() for answer in attack) == 10)
        assert [answer.result() for answer in attack if answer.done()] == [503] * 10
        assert hashing.calls == 2
        hashing.done.set()
        assert sorted(answer.result(10) for answer in attack) == [200] * places + [503] * 10
    assert hashing.most == 2
    assert attempt("olga", PASSWORD, OWNER) == 302


@pytest.mark.both
def test_who_waits_for_a_hash_keeps_no_connection_of_the_pool(
    hashing: Hashing, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[bool] = []

    def hash_password(*args: Any, **options: Any) -> bytes:
        kept.append(connection.connection is not None and connection.vendor != "sqlite")
        return hashing(*args, **options)

    monkeypatch.setattr(hashers, "pbkdf2", hash_password)
    hashing.done.set()
    with ThreadPoolExecutor(1) as pool:
        for login, password in (("olga", "wrong"), ("nobody", "wrong"), ("olga", PASSWORD)):
            pool.submit(attempt, login, password, OWNER).result()
    assert kept == [False] * 3


# ---- In full, against a server over sockets -------------------------------------------------------------------------

COUNTING_HASHES = Path(__file__).parent / "counting_hashes"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """A server that takes this host for its proxy, and writes into `hashes.log` how many hashes run at once."""
    folder = tmp_path_factory.mktemp("sign-ins")
    options = {
        "TRUSTED_PROXIES": "127.0.0.1/32",
        "PYTHONPATH": str(COUNTING_HASHES),
        "HASHES_LOG": str(folder / "hashes.log"),
    }
    with LiveServer(folder, NOBODY, **options) as server:
        server.environment["DJANGO_SUPERUSER_PASSWORD"] = PASSWORD
        server.manage("createsuperuser", "--noinput", "--login", "olga")
        yield server


def sign_owner_in(browser: SignIns) -> int:
    """The status of Olga's sign-in. While the server is busy she tries again, for a minute."""
    deadline = time.monotonic() + 60
    while (status := browser.attempt("olga", PASSWORD, OWNER)) == 503 and time.monotonic() < deadline:
        time.sleep(1)
    return status


@pytest.mark.slow
@pytest.mark.parametrize("addresses", [1, 50])
def test_of_a_hundred_wrong_passwords_at_once_few_are_hashed_and_the_owner_gets_in(
    server: LiveServer, addresses: int
) -> None:
    log = Path(server.environment["HASHES_LOG"])
    log.write_text("")
    with SignIns(server) as browser, ThreadPoolExecutor(101) as pool:
        attack = [
            pool.submit(browser.attempt, f"login-{number}", "wrong", f"192.0.{addresses}.{number % addresses}")
            for number in range(100)
        ]
        wait_for(lambda: any(answer.done() for answer in attack), seconds=60)
        owner = pool.submit(sign_owner_in, browser)
        assert server.call("GET", "/health")[0] == 200
        assert owner.result() == 302
        statuses = [answer.result() for answer in attack]
    running = [int(line) for line in log.read_text().split()]
    assert max(running) == 2
    assert len(running) == statuses.count(200) + 1  # a refusal computes none; one is the owner's
    assert set(statuses) <= {200, 429, 503}
    if addresses == 1:
        assert 429 in statuses
        assert statuses.count(200) <= 20  # ten, and ten more if a minute ends meanwhile
    else:
        assert 503 in statuses
