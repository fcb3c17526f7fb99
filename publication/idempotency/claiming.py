"""Looking up an idempotency key, claiming it for one request, and keeping that request's answer."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self

import orjson
from django.db import InterfaceError, OperationalError, transaction

from bedrock_chat.database import compiled_sql
from bedrock_chat.database.compiled_sql import NOW, Batch
from bedrock_chat.database.connections import database_now
from bedrock_chat.encryption import encrypting, keys
from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.wire.errors import Conflict, Unprocessable
from publication.idempotency import header, leases
from publication.models import IdempotencyKey, Route

logger = logging.getLogger(__name__)

KEPT: Final = timedelta(hours=24)
LONGEST_ANSWER: Final = 1024 * 1024
"""Bytes of an answer that is kept. After a longer one its key is known, and a request with it is refused."""
RETRY_SECONDS: Final = 2.0
SCOPE: Final = ("lineage", "route", "digest")


@dataclass(frozen=True, slots=True)
class Keyed:
    """A request with an idempotency key: whose it is, which route it asks, and the digest of the key."""

    publication_id: str
    lineage: str
    route: Route
    digest: str

    @property
    def columns(self) -> dict[str, str]:
        return {name: getattr(self, name) for name in SCOPE}


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier request with the same key."""

    payload: str
    is_running: bool
    encrypted_answer: str = field(repr=False)

    def replay(self, payload: str) -> str:
        """The answer that was kept, for a request whose body has this digest.

        Raises Unprocessable for another body, Conflict while the first request runs, and where its answer was not
        kept; and EncryptionError.
        """
        if payload != self.payload:
            raise Unprocessable(f"This {header.NAME} was sent with another body before.")
        if self.is_running:
            sentence = f"The first request with this {header.NAME} is still being answered."
            raise Conflict(sentence, retry_after=RETRY_SECONDS)
        if not self.encrypted_answer:
            raise Conflict(f"The request with this {header.NAME} was answered, and its answer was not kept.")
        return encrypting.decrypt(self.encrypted_answer)


class Repeated(Exception):
    """Another request with the same key came first."""

    def __init__(self, earlier: Earlier) -> None:
        super().__init__()
        self.earlier = earlier


def digest_of(body: Any) -> str:
    """The digest of a parsed body: the same for every spelling of the same JSON."""
    return hashlib.sha256(orjson.dumps(body, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)).hexdigest()


def keyed_of(headers: Mapping[str, str], publication_id: str, lineage: str, route: Route) -> Keyed | None:
    """What a request with the header is known by; None for one without. Raises BadRequest."""
    value = headers.get(header.NAME)
    if value is None:
        return None
    return Keyed(publication_id, lineage, route, hashlib.sha256(header.read(value).encode()).hexdigest())


def find(keyed: Keyed) -> Earlier | None:
    """The earlier request with this key, in one round trip; None if the key is free."""
    with Batch() as batch:
        row, now = batch.get(IdempotencyKey, keyed.columns), batch.now()
    return None if row.result is None else _earlier(row.result, now.result)


def keep(keyed: Keyed, payload: str, answer: str) -> None:
    """Claims the key and keeps the answer, in the transaction that accepts the request.

    Raises Repeated, which must roll that transaction back, and EncryptionError.
    """
    encrypted = encrypting.encrypt(answer)
    _claim(keyed, payload, encrypted_answer=encrypted, size=len(encrypted))


def begin(keyed: Keyed, payload: str) -> "Claim":
    """Claims the key for a request whose answer takes long. Raises Repeated, and EncryptionError where none could be
    kept.
    """
    keys.first()
    with transaction.atomic():
        row = _claim(keyed, payload, lease_expires_at=database_now() + leases.length())
    return Claim(row.pk, row.attempt)


class Claim:
    """A key that is claimed until the block ends. Without an answer by then, the key is free again."""

    __slots__ = ("_attempt", "_finished", "_pk")

    def __init__(self, pk: int, attempt: int) -> None:
        self._pk, self._attempt, self._finished = pk, attempt, False
        leases.add(pk, attempt)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.release()

    def finish(self, answer: str) -> None:
        """Keeps the answer, unless another process has taken over.

        Raises nothing that the client should hear instead of its answer: where it cannot be kept the log says so, and
        the key is free when its lease has run out.
        """
        self._end()
        try:
            with transaction.atomic():
                fits = len(answer.encode(errors="surrogatepass")) <= LONGEST_ANSWER
                encrypted = encrypting.encrypt(answer) if fits else ""
                columns = {"lease_expires_at": None, "encrypted_answer": encrypted, "size": len(encrypted)}
                compiled_sql.update(IdempotencyKey, self._fence, **columns)
        except (EncryptionError, OperationalError, InterfaceError) as error:
            logger.warning("an answer was not kept for its idempotency key: %s", type(error).__name__)

    def release(self) -> None:
        """Frees the key, unless it has its answer, or another process has taken over."""
        if self._finished:
            return
        self._end()
        try:
            IdempotencyKey.objects.filter(**self._fence).delete()
        except (OperationalError, InterfaceError) as error:
            logger.warning("an idempotency key is free only when its lease ends: %s", type(error).__name__)

    @property
    def _fence(self) -> dict[str, int]:
        return {"pk": self._pk, "attempt": self._attempt}

    def _end(self) -> None:
        self._finished = True
        leases.remove(self._pk, self._attempt)


def _claim(keyed: Keyed, payload: str, **columns: Any) -> IdempotencyKey:
    """Inserts the key's row, or takes over one that is no longer good, in the transaction of the caller.

    Where two insert at once, the database lets the second wait for the first one's end. Raises Repeated.
    """
    while True:
        row = IdempotencyKey(publication_id=keyed.publication_id, payload=payload, **keyed.columns, **columns)
        with Batch() as batch:
            inserted = batch.insert_unless_taken(row, SCOPE, claimed_at=NOW)
        if inserted.result:
            return row
        with Batch() as batch:
            taken, now = batch.get(IdempotencyKey, keyed.columns, lock=True), batch.now()
        if taken.result is None:  # it was removed in between
            continue
        if (earlier := _earlier(taken.result, now.result)) is not None:
            raise Repeated(earlier)
        row.pk, row.attempt = taken.result.pk, taken.result.attempt + 1
        written = {"lease_expires_at": None, "encrypted_answer": "", "size": 0, **columns}
        compiled_sql.update(
            IdempotencyKey, {"pk": row.pk}, payload=payload, attempt=row.attempt, claimed_at=NOW, **written
        )
        return row


def _earlier(row: IdempotencyKey, now: datetime) -> Earlier | None:
    """None where the row is too old, or the process that answered has died.

    A lease with more than its length left is over too: the clock was set back since it was given.
    """
    if row.claimed_at <= now - KEPT:
        return None
    expires_at = row.lease_expires_at
    if expires_at is not None and not now < expires_at <= now + leases.length():
        return None
    return Earlier(row.payload, expires_at is not None, row.encrypted_answer)
