"""The files that processes of one machine count into, and that each of them can read.

A process takes the first slot that nobody holds, by a lock on the slot's file, which the system gives back however the
process ends. It goes on counting where the one before it in that slot has stopped. So a process that is killed loses
nothing of what it has counted, sums never go back, and there are never more files than processes were alive at once.
Only gauges, which tell what a process does now, begin anew; those of slots that nobody holds are not read.

The files are `prometheus_client`'s of its multiprocess mode, with the slot's number in place of a process id: ids come
again, and containers that share a folder have the same ones.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from bedrock_chat import environment

logger = logging.getLogger(__name__)

VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"
"""By which `prometheus_client` finds the folder."""
MOST_SLOTS: Final = 1_000
ROOM: Final = 2 * 1024 * 1024
"""Bytes of each file, some 8,000 values. They are taken from the disk at once: a process that writes to a file in
memory for which a full disk has no room is killed."""
LASTING: Final = ("counter", "histogram")
LIVING: Final = "gauge_livesum"

_held: IO[bytes] | None = None


class NoSlot(OSError):
    """Every slot is held."""


def take(folder: str) -> str:
    """Takes a slot for the rest of this process, and has `prometheus_client` use its files. Returns its number.

    Call it before anything else imports `prometheus_client`. Raises OSError if the folder cannot be written.
    """
    global _held  # noqa: PLW0603  a process has one slot
    path = Path(folder)
    path.mkdir(parents=True, exist_ok=True)
    for number in map(str, range(MOST_SLOTS)):
        _held = _lock(path, number, fcntl.LOCK_EX)
        if _held is not None:
            break
    else:
        raise NoSlot(f"{MOST_SLOTS} processes count into {folder}")
    _remove_damaged(path, number)
    _make_room(path, number)
    environment.set_for_library(VARIABLE, folder)
    from prometheus_client import values  # noqa: PLC0415  with METRICS_TOKEN alone

    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]
    return number


def files(folder: str) -> list[str]:
    """The files that a scrape reads."""
    path = Path(folder)
    numbers = [file.stem for file in path.glob("*.lock")]
    lasting = (path / f"{kind}_{number}.db" for kind in LASTING for number in numbers)
    living = (path / f"{LIVING}_{number}.db" for number in numbers if _is_held(path, number))
    return [str(file) for file in (*lasting, *living) if file.exists()]


def _lock(folder: Path, number: str, how: int) -> IO[bytes] | None:
    """The slot's file, locked until it is closed; None if somebody else holds it."""
    file = (folder / f"{number}.lock").open("ab")
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _is_held(folder: Path, number: str) -> bool:
    """Whether a process counts there. One that starts meanwhile may find the slot held, and takes another."""
    file = _lock(folder, number, fcntl.LOCK_SH)
    if file is None:
        return True
    file.close()
    return False


def _remove_damaged(folder: Path, own: str) -> None:
    """Removes files that nobody counts into and that cannot be read, as a machine may leave them that loses its power.

    With one of them there, no scrape would work.
    """
    from prometheus_client.mmap_dict import MmapedDict  # noqa: PLC0415  with METRICS_TOKEN alone

    for file in folder.glob("*.db"):
        number = file.stem.rpartition("_")[2]
        if number != own and _is_held(folder, number):
            continue
        try:
            if file.stat().st_size:
                list(MmapedDict.read_all_values_from_file(str(file)))  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001  whatever its bytes make of it
            logger.warning("The counts in %s cannot be read, and are given up: %s", file, error)
            file.unlink(missing_ok=True)


def _make_room(folder: Path, number: str) -> None:
    """Makes the slot's files as large as they get. Counts stay, and gauges are of the process that has ended."""
    (folder / f"{LIVING}_{number}.db").unlink(missing_ok=True)
    for kind in (*LASTING, LIVING):
        with _opened(folder / f"{kind}_{number}.db") as descriptor:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, ROOM)
            else:
                os.ftruncate(descriptor, max(ROOM, os.fstat(descriptor).st_size))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
