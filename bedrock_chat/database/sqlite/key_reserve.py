"""Keys that this process has set apart, so that an insertion need not write SQLite's list of the highest keys.

A key is never used twice, also not that of a deleted row: much is kept by a key's value, and turns write by it long
after they have read it. So all tables have AUTOINCREMENT, whose list (`sqlite_sequence`) is a page that every insertion
writes. Here the list is raised by many keys at once, and the next insertions bring their keys themselves.

They may as long as the list says what this process has written there, and no other connection has written since: a
lower key would come after a higher one if another process, or a statement of Django's, has taken keys meanwhile, and
a backup that was restored may say the same again. Else SQLite chooses the key, as ever. So keys ascend in the order of
commits, with gaps. The list is compared by the insertion itself (`composing.insert`).

Only the thread whose turn it is to write uses this, within a transaction.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

KEYS: Final = 64
"""How many are set apart at once. So many are lost at the end of a process, of each table."""

Offer = tuple[int | None, int | None]
NO_KEY: Final[Offer] = (None, None)


@dataclass(slots=True)
class _Block:
    next: int
    last: int


class KeyReserve:
    def __init__(self) -> None:
        self._seen: tuple[Any, int] | None = None
        self._committed: dict[str, _Block] = {}
        self._new: dict[str, _Block] = {}
        """Those of the transaction that runs. Without its commit the list does not know them."""
        self._newest: dict[str, int] = {}

    def look(self, connection: Any, version: int) -> None:
        """Begins a transaction's insertions. `version` is SQLite's `data_version` for its connection: it moves when any
        other one writes.
        """
        if self._seen != (connection, version):
            self._seen = connection, version
            self._committed.clear()

    def offer(self, table: str) -> Offer:
        """The key for an insertion, and what the list must say for it to be used; NO_KEY if there is none."""
        block = self._block(table)
        return (block.next, block.last) if block is not None and block.next <= block.last else NO_KEY

    def note(self, table: str, offer: Offer, key: int, raise_list: Callable[[str, int], None]) -> None:
        """Notes the key of a new row. If SQLite has chosen it, more are set apart: `raise_list` writes the last one.

        Not if somebody else has taken the key before this one: where processes take turns, they would set keys apart
        for nothing.
        """
        block = self._block(table)
        if block is not None and key == offer[0]:
            block.next += 1
        elif self._newest.get(table) == key - 1:
            self._new[table] = _Block(key + 1, key + KEYS)
            raise_list(table, key + KEYS)
        self._newest[table] = key

    def commit(self) -> None:
        """The list says by now what the transaction has written."""
        if self._new:
            self._committed.update(self._new)
            self._new.clear()

    def roll_back(self) -> None:
        """The list says again what it said before, or before a savepoint."""
        self._new.clear()

    def _block(self, table: str) -> _Block | None:
        return self._new.get(table) or self._committed.get(table)
