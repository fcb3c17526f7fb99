"""What `/ready` tells: each thing that this process needs, and whether it is there. Apps register them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedrock_chat.resilience.dependencies import Check, Dependency, State
from bedrock_chat.resilience.disk_space import require_room

PATIENCE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class _Part:
    dependency: Dependency | None
    check: Check | None
    room: Check | None

    def begin(self) -> None:
        for check in (self._check_to_ask(), self.room):
            if check is not None:
                check.begin()

    def outcome(self) -> tuple[State, Any]:
        state, value = State.OK if self.dependency is None else self.dependency.state, None
        if (check := self._check_to_ask()) is not None:
            state, value = check.ask()
        if state is State.OK and self.room is not None:
            state, _ = self.room.ask()
        return state, value

    def _check_to_ask(self) -> Check | None:
        """A dependency that is known to be away is not asked."""
        return None if self.dependency is not None and self.dependency.is_away else self.check


_parts: dict[str, _Part] = {}


def register(
    name: str,
    *,
    dependency: Dependency | None = None,
    check: Callable[[], Any] | None = None,
    folder: Callable[[], Path | None] | None = None,
) -> None:
    """Has `/ready` tell of `name`: what its users have told `dependency`, or what `check` finds out, which raises
    whatever is wrong; and whether there is room in `folder`, if it is on this machine. What has none of these is
    always there.
    """

    def look_for_room() -> None:
        if folder is not None and (path := folder()) is not None:
            require_room(path)

    _parts[name] = _Part(
        dependency,
        check and Check(name, check, patience=PATIENCE_SECONDS),
        folder and Check(f"room for {name}", look_for_room, patience=PATIENCE_SECONDS),
    )


def states() -> dict[str, tuple[State, Any]]:
    """Name → its state, and what its check returned. Takes PATIENCE_SECONDS at most: all are asked at the same time."""
    for part in _parts.values():
        part.begin()
    return {name: part.outcome() for name, part in _parts.items()}
