"""What `/ready` tells: each thing that this process needs, and whether it is there. Apps register them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bedrock_chat.resilience.dependencies import Check, Dependency, State

PATIENCE_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class _Part:
    dependency: Dependency | None
    check: Check | None

    @property
    def is_to_be_asked(self) -> bool:
        return self.check is not None and not (self.dependency is not None and self.dependency.is_away)

    def begin(self) -> None:
        if self.check is not None and self.is_to_be_asked:
            self.check.begin()

    def outcome(self) -> tuple[State, Any]:
        if self.check is not None and self.is_to_be_asked:
            return self.check.ask()
        return (State.OK if self.dependency is None else self.dependency.state), None


_parts: dict[str, _Part] = {}


def register(name: str, *, dependency: Dependency | None = None, check: Callable[[], Any] | None = None) -> None:
    """Has `/ready` tell of `name`: what its users have told `dependency`, or what `check` finds out, which raises
    whatever is wrong. A dependency that is known to be away is not asked; what has neither is always there.
    """
    _parts[name] = _Part(dependency, check and Check(name.capitalize(), check, patience=PATIENCE_SECONDS))


def states() -> dict[str, tuple[State, Any]]:
    """Name → its state, and what its check returned. Takes PATIENCE_SECONDS at most: all are asked at the same time."""
    for part in _parts.values():
        part.begin()
    return {name: part.outcome() for name, part in _parts.items()}
