"""A reader's process as the worker sees it: begun, asked, killed."""

import json
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from bots.knowledge.reading.requests import LENGTHS, MOST_HEAD_BYTES, Request, frame

ROOT: Final = Path(__file__).resolve().parents[3]
BEGIN: Final = "import sys; sys.path.append(sys.argv[1]); from bots.knowledge.reading.child import main; main()"
"""The project comes last on the path: some of its modules are called as the standard library's are."""
BLOCK_BYTES: Final = 256 * 1024


class Died(Exception):
    """The process is gone, or answered what is no answer; it is killed then."""


class Overdue(Exception):
    """The process had not answered at its deadline, and is killed."""


class Process:
    """One process. It answers one request at a time, on one thread."""

    def __init__(self) -> None:
        self.answered = 0
        self.is_leaving = False  # it said that this answer was its last
        self._process = subprocess.Popen(  # noqa: S603 - Python itself, with arguments of ours
            [sys.executable, "-I", "-c", BEGIN, str(ROOT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={},
            cwd="/",
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests = self._process.stdin
        self._answers = self._process.stdout
        os.set_blocking(self._answers.fileno(), False)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends it now. May be called from any thread, and again."""
        self._process.kill()

    def close(self) -> None:
        """Ends it, and waits until the system has taken it away."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._requests, self._answers):
            try:
                pipe.close()
            except OSError:  # what was not yet written has nobody to read it
                continue

    def ask(self, request: Request, *, most_bytes: int) -> Iterator[tuple[dict[str, Any], bytes]]:
        """The frames of its answer, each of at most `most_bytes`. The last one has an `outcome`.

        Raises Died and Overdue.
        """
        due = time.monotonic() + request.seconds
        try:
            self._requests.write(frame(asdict(request)))
            self._requests.flush()
        except (OSError, ValueError) as error:
            raise Died from error
        for _ in range(len(request.drawn_pages) + 1):  # a frame per picture, and the outcome
            head_length, body_length = LENGTHS.unpack(self._read(LENGTHS.size, due))
            if head_length > MOST_HEAD_BYTES or body_length > most_bytes:
                raise Died
            head = _head(self._read(head_length, due))
            yield head, self._read(body_length, due)
            if "outcome" in head:
                self.answered += 1
                self.is_leaving = bool(head.get("is_last"))
                return
        raise Died

    def _read(self, size: int, due: float) -> bytes:
        blocks: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self._answers, selectors.EVENT_READ)
            while size:
                seconds = due - time.monotonic()
                if seconds <= 0 or not selector.select(seconds):
                    raise Overdue
                block = os.read(self._answers.fileno(), min(size, BLOCK_BYTES))
                if not block:
                    raise Died
                blocks.append(block)
                size -= len(block)
        return b"".join(blocks)


def _head(content: bytes) -> dict[str, Any]:
    """A frame's head: a page's number, or an outcome. Raises Died for anything else."""
    try:
        head = json.loads(content)
    except ValueError as error:
        raise Died from error
    if isinstance(head, dict) and (isinstance(head.get("outcome"), str) or isinstance(head.get("page"), int)):
        return head
    raise Died
