"""Exports what is stored of a person as files: JSON lines, and the images and documents themselves.

`user.json` says who they are. Each app registers in `apps.ready` what it adds.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import NotFound
from bedrock_chat.wire.renderers import dumps

Export = Callable[[str, Path], Iterator[str]]
"""Takes a user's id and a folder, writes the user's files there, and yields a sentence now and then."""

_exports: dict[str, Export] = {}


def register(app: str, export: Export) -> None:
    """Adds an app's files. Apps write in the order of registration."""
    _exports[app] = export


def export(user_id: str, folder: Path, *, on_begin: Callable[[], None] | None = None) -> Iterator[str]:
    """Writes all that is stored of a user into an empty folder; yields a sentence now and then. Raises as `parts`."""
    for sentences in parts(user_id, folder, on_begin=on_begin):
        yield from sentences


def parts(user_id: str, folder: Path, *, on_begin: Callable[[], None] | None = None) -> Iterator[Iterator[str]]:
    """As `export`, an app at a time: whoever has taken an app's sentences to their end finds its files complete.

    `on_begin` is called before the first file is written: it records who takes them. Raises NotFound, and
    FileExistsError where the folder is not empty, both at once.
    """
    user = User.objects.filter(pk=user_id).first()
    if user is None:
        raise NotFound(f"No user found with id: {user_id}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty.")
    if on_begin:
        on_begin()
    facts = {
        "id": user.pk,
        "username": user.username,
        "email": user.email,
        "groups": user.token_groups,
        "createdAt": user.created_at.isoformat(),
        "seenAt": None if user.seen_at is None else user.seen_at.isoformat(),
    }
    (folder / "user.json").write_text(json.dumps(facts, ensure_ascii=False, indent=1), encoding="utf-8")
    return (write(user_id, folder) for write in _exports.values())


def write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> int:
    """Writes a line for each entry, in the JSON of the API. Returns how many."""
    written = 0
    with path.open("wb") as lines:
        for entry in entries:
            lines.write(dumps(entry) + b"\n")
            written += 1
    return written
