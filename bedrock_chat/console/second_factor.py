"""The second factor of operators: enrolling, checking and replacing it. Each write leaves an entry in the audit.

Six digits are guessed in a million attempts, so MOST_FAILURES wrong codes in a row close the door for a while. They are
counted in the database: all processes count together, whether there is Redis or not. Whoever gets as far has typed the
right password, so nobody else can close it.
"""

import hmac
import json
import secrets
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog
from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.utils import timezone

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.encryption import encrypting
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.identity.models import SecondFactor, User
from bedrock_chat.wire.errors import BadRequest, Conflict, Forbidden, NotFound, TooManyRequests

STEP_SECONDS: Final = 30
DRIFT_STEPS: Final = 1
"""A code is good in its own 30 seconds, and in those before and after: clocks differ."""
SECRET_BYTES: Final = 20
DIGITS: Final = 6
RECOVERY_CODES: Final = 10
MOST_FAILURES: Final = 5
BLOCKED: Final = timedelta(minutes=15)
ISSUER: Final = "Bedrock Chat"
_LETTERS: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # none that look alike

ENROL = verbs.register("enrol second factor", target="user")
REMOVE = verbs.register("remove second factor", target="user")
RENEW_CODES = verbs.register("renew recovery codes", target="user")
USE_CODE = verbs.register("use recovery code", target="user", values={"left": verbs.number})

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an app needs to show codes: the secret in base 32 to be typed, and the same as an address to be scanned."""

    secret: str
    address: str


def has_one(user: User) -> bool:
    """Whether an operator has to show a second factor."""
    return SecondFactor.objects.filter(pk=user.pk, confirmed_at__isnull=False).exists()


def begin(user: User) -> Enrolment:
    """Makes a secret for an operator, or repeats the one that was made just now and is not confirmed yet.

    An older one may have been seen by somebody else at a browser that was left open, so it is replaced.
    Raises Conflict for who has a second factor, and 503 where no secret can be stored.
    """
    with transaction.atomic():
        User.objects.select_for_update().get(pk=user.pk)
        row = SecondFactor.objects.filter(pk=user.pk).first()
        if row is not None and row.confirmed_at is not None:
            raise Conflict("There is a second factor already; remove it first.")
        if row is None:
            row = SecondFactor.objects.create(user=user, encrypted_secret=_new_secret())
        elif row.created_at < timezone.now() - session_store.VISIT:
            row.encrypted_secret, row.created_at = _new_secret(), timezone.now()
            row.save(update_fields=["encrypted_secret", "created_at"])
    return _enrolment(user, _secret(row))


def confirm(user: User, code: str, *, actor: Actor) -> list[str]:
    """Ends the enrolment with a first code of the app. Returns the recovery codes, which are not shown again.

    Raises BadRequest for a wrong code, NotFound where nothing was begun, Conflict, and TooManyRequests.
    """
    with transaction.atomic():
        row = _locked(user)
        if row.confirmed_at is not None:
            raise Conflict("The second factor is confirmed already.")
        step = _step_of(row, code)
        if step is not None:
            row.confirmed_at, row.last_step, row.failures = timezone.now(), step, 0
            row.save(update_fields=["confirmed_at", "last_step", "failures"])
            codes = _give_codes(row)
            record(ENROL, user.pk, actor=actor)
            return codes
        _count_failure(row)
    raise BadRequest("This is not the code that the app shows now.")


def check(user: User, code: str, *, actor: Actor) -> bool:
    """Whether a code is one of the app, which has not been used before, or a recovery code, which is used up by it.

    Raises TooManyRequests after MOST_FAILURES wrong ones, and NotFound for who has no second factor.
    """
    with transaction.atomic():
        row = _locked(user)
        if row.confirmed_at is None:
            raise NotFound("There is no second factor.")
        step = _step_of(row, code)
        if step is not None:
            row.last_step, row.failures = step, 0
            row.save(update_fields=["last_step", "failures"])
            return True
        left = _codes(row)
        used = _normal(code)
        if any(hmac.compare_digest(used, entry) for entry in left):
            row.failures = 0
            row.save(update_fields=["failures"])
            _store_codes(row, [entry for entry in left if entry != used])
            record(USE_CODE, user.pk, actor=actor, values={"left": row.codes_left})
            return True
        _count_failure(row)
    logger.warning("second factor failed", operator_id=user.pk, failures=row.failures)
    return False


def renew_codes(user: User, *, actor: Actor) -> list[str]:
    """New recovery codes in place of the old ones. The caller has checked a code. Raises NotFound."""
    with transaction.atomic():
        row = _locked(user)
        if row.confirmed_at is None:
            raise NotFound("There is no second factor.")
        codes = _give_codes(row)
        record(RENEW_CODES, user.pk, actor=actor)
    return codes


def remove(user: User, *, actor: Actor, but: SessionBase | None = None) -> bool:
    """Takes an operator's second factor away, and ends their sessions except one. Returns whether there was one.

    The caller has checked who may.
    """
    with transaction.atomic():
        deleted, _ = SecondFactor.objects.filter(pk=user.pk).delete()
        if not deleted:
            return False
        session_store.end_all(user.pk, but=but)
        record(REMOVE, user.pk, actor=actor)
    return True


def remove_anothers(user: User, *, actor: Caller) -> bool:
    """As `remove`, for whoever may do so to others. Their own factor they remove with a code: else a browser that was
    left open would be enough. Raises Forbidden.
    """
    if user.pk == actor.user_id:
        raise Forbidden("Your own second factor is removed on the page of your account, with a code.")
    return remove(user, actor=actor)


def code_at(secret: str, step: int) -> str:
    """The six digits of a secret (hexadecimal) in one of the 30 seconds since the epoch."""
    from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415  cryptography takes 8 MB
    from cryptography.hazmat.primitives.twofactor.totp import TOTP  # noqa: PLC0415

    return TOTP(bytes.fromhex(secret), DIGITS, SHA1(), STEP_SECONDS).generate(step * STEP_SECONDS).decode()  # noqa: S303


# ---- A row ----------------------------------------------------------------------------------------------------------


def _locked(user: User) -> SecondFactor:
    """The row, locked, if it may be tried now. Raises NotFound and TooManyRequests."""
    row = SecondFactor.objects.select_for_update().filter(pk=user.pk).first()
    if row is None:
        raise NotFound("There is no second factor.")
    now = timezone.now()
    if row.blocked_until is not None and row.blocked_until > now:
        seconds = (row.blocked_until - now).total_seconds()
        raise TooManyRequests(
            f"Too many wrong codes; try again in {max(1, round(seconds / 60))} minutes.", retry_after=max(1.0, seconds)
        )
    return row


def _step_of(row: SecondFactor, code: str) -> int | None:
    """The step whose code this is, if it is later than the last accepted one: no code is good twice."""
    code = code.replace(" ", "")
    if len(code) != DIGITS or not (code.isascii() and code.isdigit()):
        return None
    secret, now = _secret(row), int(time.time()) // STEP_SECONDS
    steps = range(max(now - DRIFT_STEPS, row.last_step + 1), now + DRIFT_STEPS + 1)
    matching = [step for step in steps if hmac.compare_digest(code_at(secret, step), code)]
    return matching[0] if matching else None


def _count_failure(row: SecondFactor) -> None:
    row.failures += 1
    if row.failures >= MOST_FAILURES:
        row.failures, row.blocked_until = 0, timezone.now() + BLOCKED
    row.save(update_fields=["failures", "blocked_until"])


def _new_secret() -> str:
    """Encrypted."""
    return encrypting.encrypt(secrets.token_hex(SECRET_BYTES))


def _secret(row: SecondFactor) -> str:
    return encrypting.decrypt(row.encrypted_secret)


def _codes(row: SecondFactor) -> list[str]:
    codes: list[str] = json.loads(encrypting.decrypt(row.encrypted_codes)) if row.encrypted_codes else []
    return codes


def _give_codes(row: SecondFactor) -> list[str]:
    codes = ["".join(secrets.choice(_LETTERS) for _ in range(10)) for _ in range(RECOVERY_CODES)]
    _store_codes(row, codes)
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def _store_codes(row: SecondFactor, codes: list[str]) -> None:
    row.encrypted_codes = encrypting.encrypt(json.dumps(codes))
    row.codes_left = len(codes)
    row.save(update_fields=["encrypted_codes", "codes_left"])


def _normal(code: str) -> str:
    """A recovery code as it is stored, however it was typed. Nobody types more than 40 characters."""
    return "".join(letter for letter in code[:40].lower() if letter in _LETTERS)


def _enrolment(user: User, secret: str) -> Enrolment:
    from cryptography.hazmat.primitives.hashes import SHA1  # noqa: PLC0415
    from cryptography.hazmat.primitives.twofactor.totp import TOTP  # noqa: PLC0415

    app = TOTP(bytes.fromhex(secret), DIGITS, SHA1(), STEP_SECONDS)  # noqa: S303
    address = app.get_provisioning_uri(user.login or user.pk, ISSUER)
    return Enrolment(address.partition("secret=")[2].partition("&")[0], address)
