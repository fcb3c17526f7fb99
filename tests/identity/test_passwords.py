"""At most two passwords are hashed at a time in a process, whoever asks, and nobody waits long for a turn."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth import hashers
from django.contrib.auth.hashers import check_password, make_password

from bedrock_chat.identity import passwords
from bedrock_chat.wire.errors import ServiceUnavailable
from tests.hashing import Hashing
from tests.together import wait_for

pytestmark = pytest.mark.django_db  # who waits lets go of a connection, where there is one
ENCODED = "pbkdf2_sha256$1$salt$AAAA"


@pytest.fixture
def hashing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hashing]:
    hashing = Hashing()
    monkeypatch.setattr(hashers, "pbkdf2", hashing)
    yield hashing
    hashing.done.set()


def everybody_waits() -> bool:
    return passwords._admitted._value == 0


DOORS: list[Callable[[], Any]] = [
    lambda: make_password("secret"),
    lambda: check_password("secret", ENCODED),
    lambda: check_password("secret", "!unusable"),  # takes as long as a hash, so it is one
    lambda: hashers.get_hasher().harden_runtime("secret", ENCODED),
]


def test_two_hash_at_a_time_whoever_asks_and_the_others_wait(hashing: Hashing) -> None:
    number = passwords.AT_A_TIME + passwords.MOST_WAITING
    with ThreadPoolExecutor(number) as pool:
        answers = [pool.submit(DOORS[index % len(DOORS)]) for index in range(number)]
        wait_for(lambda: everybody_waits() and hashing.running == 2)
        hashing.done.set()
        for answer in answers:
            answer.result(10)
    assert hashing.most == 2
    assert hashing.calls >= number


def test_when_enough_wait_the_next_is_refused_at_once(hashing: Hashing) -> None:
    number = passwords.AT_A_TIME + passwords.MOST_WAITING
    with ThreadPoolExecutor(number) as pool:
        answers = [pool.submit(make_password, "secret") for _ in range(number)]
        wait_for(everybody_waits)
        with pytest.raises(ServiceUnavailable) as refusal:
            make_password("secret")
        assert int(refusal.value.headers["Retry-After"]) >= 1
        assert not any(answer.done() for answer in answers)
        hashing.done.set()
    assert make_password("secret")


def test_nobody_waits_beyond_the_patience(hashing: Hashing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passwords, "PATIENCE_SECONDS", 0.05)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(make_password, "secret") for _ in range(2)]
        wait_for(lambda: hashing.running == 2)
        with pytest.raises(ServiceUnavailable):
            make_password("secret")
        hashing.done.set()
        for answer in answers:
            answer.result(10)
    assert make_password("secret")


def test_a_hash_that_fails_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(hashers, "pbkdf2", lambda *_, **__: 1 / 0)
        for _ in range(passwords.AT_A_TIME + 1):
            with pytest.raises(ZeroDivisionError):
                make_password("secret")
    assert passwords._running._value == passwords.AT_A_TIME
    assert passwords._admitted._value == passwords.AT_A_TIME + passwords.MOST_WAITING


def test_hashes_of_before_are_still_good() -> None:
    before = hashers.PBKDF2PasswordHasher().encode("secret", "salt", 1000)
    assert check_password("secret", before)
    assert not check_password("guess", before)
