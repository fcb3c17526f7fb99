"""Sessions of operators, as Django's SessionMiddleware keeps them (`SESSION_ENGINE`).

Unlike Django's own, a session ends when nobody has used it for CONSOLE_IDLE_MINUTES, and CONSOLE_SESSION_HOURS after
the sign-in however busy it is. Its row says whose it is and from where, so that sessions can be listed and ended.
"""

import hashlib
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils import timezone

from bedrock_chat.identity.addresses import client_network
from bedrock_chat.identity.models import OperatorSession

SECOND_FACTOR: Final = "second_factor"
"""The session's word for: who signed in has shown a second factor."""

VISIT: Final = timedelta(minutes=15)
"""How long a session lives in which nobody has signed in yet: time to type a code, or to sign in elsewhere."""

SEEN_EVERY: Final = timedelta(minutes=1)


class SessionStore(SessionBase):
    """One session. Its row is written when it is created or changed, and once a minute when it is used."""

    network = browser = ""

    def __init__(self, session_key: str | None = None) -> None:
        super().__init__(session_key)
        self._started_at: datetime | None = None

    def note_client(self, request: HttpRequest) -> None:
        """Remembers who sends a request, for the row of a session that this request begins."""
        self.network = client_network(request)[:64]
        self.browser = "".join(filter(str.isprintable, request.META.get("HTTP_USER_AGENT", "")))[:200]

    def load(self) -> dict[str, Any]:
        now = timezone.now()
        row = live(now).filter(digest=_digest(self.session_key)).first()
        if row is None:
            self._session_key = None
            return {}
        self._started_at = row.started_at
        if now - row.seen_at >= SEEN_EVERY:
            OperatorSession.objects.filter(pk=row.pk).update(seen_at=now)
        data: dict[str, Any] = self.decode(row.data)
        return data

    def exists(self, session_key: str) -> bool:
        return OperatorSession.objects.filter(digest=_digest(session_key)).exists()

    def create(self) -> None:
        self._session_key = self._get_new_session_key()  # type: ignore[attr-defined]  # the stubs lack it
        self._started_at = timezone.now()
        self.save(must_create=True)
        self.modified = True

    def save(self, must_create: bool = False) -> None:
        """Raises CreateError where the key is taken, and UpdateError where the session has ended meanwhile."""
        if self.session_key is None:
            self.create()
            return
        data: dict[str, Any] = self._get_session(no_load=must_create)  # type: ignore[attr-defined]  # as above
        user_id = data.get(SESSION_KEY)
        now = timezone.now()
        started_at = self._started_at or now
        age = VISIT if user_id is None else timedelta(hours=settings.CONSOLE_SESSION_HOURS)
        columns = {
            "user_id": user_id,
            "data": self.encode(data),
            "expires_at": started_at + age,
            "has_second_factor": bool(data.get(SECOND_FACTOR)),
        }
        rows = OperatorSession.objects.filter(digest=_digest(self.session_key))
        if not must_create:
            if not rows.update(**columns):
                raise UpdateError
            return
        client = {"network": self.network, "browser": self.browser}
        try:
            with transaction.atomic():
                OperatorSession.objects.create(
                    digest=_digest(self.session_key), started_at=started_at, seen_at=now, **client, **columns
                )
        except IntegrityError:
            raise CreateError from None

    def delete(self, session_key: str | None = None) -> None:
        key = session_key or self.session_key
        if key is not None:
            OperatorSession.objects.filter(digest=_digest(key)).delete()

    @classmethod
    def clear_expired(cls) -> None:
        """Deletes what has expired. `manage.py clearsessions` and every sign-in do it."""
        OperatorSession.objects.filter(expires_at__lte=timezone.now()).delete()


def live(now: datetime) -> Any:
    """The sessions that have neither expired nor been idle for too long."""
    idle = timedelta(minutes=settings.CONSOLE_IDLE_MINUTES)
    return OperatorSession.objects.filter(expires_at__gt=now, seen_at__gt=now - idle)


def row_of(session: SessionBase) -> OperatorSession | None:
    """The row of a request's session."""
    return OperatorSession.objects.filter(digest=_digest(session.session_key)).first()


def end_all(user_id: str, *, but: SessionBase | None = None) -> int:
    """Ends the sessions of an operator, except one. Returns how many. Call it in the transaction that suspends them."""
    rows = OperatorSession.objects.filter(user_id=user_id)
    if but is not None:
        rows = rows.exclude(digest=_digest(but.session_key))
    return rows.delete()[0]


def _digest(session_key: str | None) -> str:
    return hashlib.sha256((session_key or "").encode()).hexdigest()
