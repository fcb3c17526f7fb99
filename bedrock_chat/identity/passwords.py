"""Passwords of operators: who may sign in with one, how often it may be tried, and how many are hashed at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.hashers import PBKDF2PasswordHasher
from django.contrib.auth.models import Permission
from django.db import connection
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.crypto import salted_hmac

from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import password_attempts
from bedrock_chat.identity.addresses import client_address
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import ServiceUnavailable

LONGEST_PASSWORD = 4096
AT_A_TIME = 2
MOST_WAITING = 20
"""One address gets at most twenty attempts at once (ten a minute, and one minute may end meanwhile). So it
cannot take all places, and an operator at another address gets one.
"""
PATIENCE_SECONDS = 10.0  # twenty hashes, two at a time, and half a second each
RETRY_SECONDS = 2.0

logger = structlog.get_logger(__name__)

_running = threading.BoundedSemaphore(AT_A_TIME)
_admitted = threading.BoundedSemaphore(AT_A_TIME + MOST_WAITING)


@contextmanager
def _turn() -> Iterator[None]:
    """Waits until one of the AT_A_TIME places is free. Raises ServiceUnavailable where that takes too long.

    The thread keeps no database connection meanwhile: as many as may wait would take the whole pool.
    """
    busy = ServiceUnavailable("Too many passwords are being checked; try again.", retry_after=RETRY_SECONDS)
    if not _admitted.acquire(blocking=False):
        raise busy
    try:
        if not connection.in_atomic_block:
            release_connection()
        if not _running.acquire(timeout=PATIENCE_SECONDS):
            raise busy
        try:
            yield
        finally:
            _running.release()
    finally:
        _admitted.release()


class BoundedPasswordHasher(PBKDF2PasswordHasher):
    """Django's hasher, at most AT_A_TIME in a process, whoever asks: a hash takes a core for about half a second.

    MOST_WAITING more may wait for PATIENCE_SECONDS, each of them on a thread; the next gets ServiceUnavailable at once.
    Django's `verify` and `harden_runtime` compute their hashes by `encode`.
    """

    def encode(self, password: str, salt: str, iterations: int | None = None) -> str:
        with _turn():
            return super().encode(password, salt, iterations)


class OperatorBackend(ModelBackend):
    """Signs operators in. Every check of a password on behalf of a client goes through `authenticate`."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """The operator with that login and password, or None: for an unknown login as late as for a wrong password.

        Without a request (a command) nothing is limited or counted. Raises TooManyRequests, before any hash is
        computed, and ServiceUnavailable.
        """
        if request is None or username is None or password is None:
            return super().authenticate(request, username, password, **kwargs)
        attempt = password_attempts.begin(request, username)
        try:
            user = super().authenticate(request, username, password, **kwargs)
        except BaseException:
            attempt.give_back()
            raise
        if user is None:
            _log_failure(request, username)
        else:
            attempt.give_back()
        return user

    def _get_group_permissions(self, user_obj: Any) -> QuerySet[Permission]:
        """None: what an operator's role may do stands in the code, and `console.roles` answers."""
        return Permission.objects.none()

    def user_can_authenticate(self, user: Any) -> bool:
        return bool(user.is_active and user.is_staff)


def _log_failure(request: HttpRequest, login: str) -> None:
    """One line. An unknown login may be a password in the wrong field, so a keyed digest stands for it."""
    user_id = User.objects.filter(login=login).values_list("pk", flat=True).first()
    digest = salted_hmac(__name__, login, algorithm="sha256").hexdigest()[:12]
    logger.warning("sign-in failed", address=client_address(request), operator_id=user_id, login_digest=digest)
