"""Hostile zips of bots: documents that are hostile, and files that unpack to much more than their bytes."""

import base64
import json
import random
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.bots.bot import document
from tests.bots.travel import ZIP, named, zipped
from tests.hostile import bodies
from tests.hostile.bodies import Attack


def attacks(size: int) -> Iterator[Attack]:
    """Zips of bots that unpack to much more than their bytes, as far as the server lets them."""
    for name, body in bodies.whole(size):
        yield _import(f"document of {name}", partial(_packed_document, body))
    for megabytes in (1, 10, 49):
        yield _import(f"a file of {megabytes} MB", partial(_packed_files, [megabytes]))
    for number in (2, 11):
        yield _import(f"{number} files of 45 MB", partial(_packed_files, [45] * number))


def _import(name: str, content: Any) -> Attack:
    return Attack(f"POST /bot/import: {name}", "POST", "/bot/import", content, ZIP)


def _packed_document(body: bytes) -> bytes:
    """A zip whose document is this, behind so much that does not pack that it is not refused for packing too well."""
    noise = base64.b64encode(random.Random(0).randbytes(len(body) // 80))
    return zipped({"bot.json": b'{"schema":"' + noise + b'","bot":' + body + b"}"})


def _packed_files(sizes: list[int]) -> bytes:
    """A zip with files of so many MB, which pack as well as it lets them. They are what its document says."""
    noise = random.Random(0)
    files = {}
    for number, megabytes in enumerate(sizes):
        line = noise.randbytes(12) + bytes(1012)
        body = b"".join(line[number % 7 :] + noise.randbytes(12) for _ in range(megabytes * 1024 * 1024 // 1030))
        files[f"{number}.txt"] = body
    entries = [named(name, body) for name, body in files.items()]
    contents = {f"files/{entry['digest']}": files[entry["filename"]] for entry in entries}
    return zipped({"bot.json": json.dumps(document(files=entries)).encode(), **contents})
