"""Names of tools as Converse takes them: 1 to 64 of `[a-zA-Z0-9_-]`."""

import re
from collections.abc import Container
from typing import Final

LONGEST: Final = 64
LONGEST_SHOWN: Final = 200
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]")


def legal(name: str) -> str:
    """The name with `_` in place of what Converse refuses; `unnamed` where there is none."""
    return _ILLEGAL.sub("_", name[:LONGEST]) or "unnamed"


def alias_of(name: str, taken: Container[str] = ()) -> str:
    """A legal name that is not among those taken: `search`, `search_2`, `search_3`."""
    alias, number = legal(name), 2
    base = alias
    while alias in taken:
        ending = f"_{number}"
        alias, number = base[: LONGEST - len(ending)] + ending, number + 1
    return alias


def unknown(name: str) -> str:
    """What a model reads that has called a tool which the bot does not have."""
    return f"Unknown tool: {name[:LONGEST_SHOWN]}"
