"""Which state of a row a form was filled in from: a write that is based on an older one is refused, not lost."""

from collections.abc import Iterable
from hashlib import sha256
from typing import Any

from bedrock_chat.wire.errors import Conflict


def revision_of(row: Any, columns: Iterable[str]) -> str:
    """A digest of a row's columns. A form carries it along, and the write takes it as `base`."""
    values = [(name, getattr(row, name)) for name in sorted(columns)]
    return sha256(repr(values).encode()).hexdigest()[:32]


def refuse_outdated(row: Any, columns: Iterable[str], base: str | None) -> None:
    """Raises Conflict where the columns of a locked row are not those of `base`. None: the caller has seen no state."""
    if base is not None and base != revision_of(row, columns):
        raise Conflict("It was changed meanwhile. Look at it again, and begin anew.")
