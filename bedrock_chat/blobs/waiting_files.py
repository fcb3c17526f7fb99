"""A file that was uploaded and waits for somebody to keep it, as a storage sees it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class WaitingFile:
    """Its name in storage, its size in bytes, and a tag that differs once it was replaced under the same name."""

    name: str
    size: int
    tag: str
