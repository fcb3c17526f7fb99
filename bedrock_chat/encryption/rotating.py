"""Puts all stored secrets under the first key, so that the other keys can go. `manage.py rotate_encryption_key`
does it.

Each app registers the columns of its secrets in `apps.ready`, so the kernel need not know the app.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from django.db import models, transaction

from bedrock_chat.encryption import encrypting, keys
from bedrock_chat.encryption.errors import EncryptionError
from bedrock_chat.encryption.models import EncryptionKey

AT_ONCE = 100


class NothingGivenUp(EncryptionError):
    """No secret is under the key, or this server has it."""


class SecretsLeft(EncryptionError):
    """Some secrets could not be read, and are as they were."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of tokens. An empty text, or NULL, means that there is no secret."""

    model: type[models.Model]
    name: str

    def __str__(self) -> str:
        return f"{self.model._meta.label}.{self.name}"

    def under(self, fingerprint: str) -> models.QuerySet[Any]:
        return self.model._base_manager.filter(**{f"{self.name}__startswith": f"{fingerprint}:"})

    def not_under(self, fingerprint: str) -> models.QuerySet[Any]:
        rows = self.model._base_manager.exclude(**{self.name: ""}).filter(**{f"{self.name}__isnull": False})
        return rows.exclude(**{f"{self.name}__startswith": f"{fingerprint}:"})


_columns: dict[str, Column] = {}


def register(model: type[models.Model], *names: str) -> None:
    """Adds columns of tokens (`encrypting.encrypt`). They are gone through in the order of registration."""
    for name in names:
        column = Column(model, name)
        _columns[str(column)] = column


def registered() -> list[str]:
    """`app.Model.column` of each."""
    return list(_columns)


def rotate() -> Iterator[str]:
    """Encrypts anew what is not under the first key; yields a sentence after each short transaction.

    Then the other keys are struck out that nothing is under any more. Ended early, it goes on with the next call:
    what is under the first key is not looked at again. Raises SecretsLeft at the end where secrets could not be read,
    and what `keys.first` raises.
    """
    first = keys.fingerprint(keys.first())
    unreadable = 0
    for column in _columns.values():
        after: Any = None
        while True:
            with transaction.atomic():
                after, renewed, failed = _rotate_some(column, first, after)
            unreadable += failed
            if after is None:
                break
            yield f"{column}: {renewed} encrypted anew."
    for fingerprint in keys.in_use():
        if fingerprint != first:
            gone = _strike_out_if_unused(fingerprint)
            yield f"The key with the fingerprint {fingerprint} {'can go' if gone else 'is still needed'}."
    if unreadable:
        raise SecretsLeft(f"{unreadable} secrets cannot be read with the keys of this server, and are as they were.")


def _rotate_some(column: Column, first: str, after: Any) -> tuple[Any, int, int]:
    """The last row's key (None: there was none), and how many secrets were encrypted anew and how many not."""
    rows = column.not_under(first).order_by("pk")
    if after is not None:
        rows = rows.filter(pk__gt=after)
    last, renewed, failed = None, 0, 0
    for last, token in list(rows.select_for_update().values_list("pk", column.name)[:AT_ONCE]):
        try:
            anew = encrypting.encrypt(encrypting.decrypt(token))
        except EncryptionError:
            failed += 1
        else:
            column.model._base_manager.filter(pk=last).update(**{column.name: anew})
            renewed += 1
    return last, renewed, failed


def _strike_out_if_unused(fingerprint: str) -> bool:
    """Whether no secret is under the key any more; then its row is gone.

    The lock waits for those that are storing one just now (`keys.hold`), and whoever comes later finds no row, and
    writes one of their own.
    """
    with transaction.atomic():
        rows = EncryptionKey.objects.filter(pk=fingerprint)
        list(rows.select_for_update().values_list("pk"))
        if any(column.under(fingerprint).exists() for column in _columns.values()):
            return False
        rows.delete()
        return True


def require_lost(fingerprint: str) -> None:
    """Raises NothingGivenUp unless secrets are under this key, and this server does not have it."""
    if fingerprint not in keys.in_use():
        raise NothingGivenUp(f"No stored secret is under a key with the fingerprint {fingerprint}.")
    if fingerprint in map(keys.fingerprint, keys.usable()):
        raise NothingGivenUp(f"This server has the key with the fingerprint {fingerprint}; nothing was given up.")


def give_up(fingerprint: str) -> Iterator[str]:
    """Empties the secrets under a key that is lost, so that a server starts without it; yields a sentence for each
    short transaction. Raises NothingGivenUp.
    """
    require_lost(fingerprint)
    for column in _columns.values():
        while True:
            with transaction.atomic():
                some = column.under(fingerprint).order_by("pk").select_for_update().values_list("pk", flat=True)
                emptied = column.model._base_manager.filter(pk__in=list(some[:AT_ONCE])).update(**{column.name: ""})
            if not emptied:
                break
            yield f"{column}: {emptied} given up."
    if _strike_out_if_unused(fingerprint):
        yield f"Nothing is under the key with the fingerprint {fingerprint} any more."
