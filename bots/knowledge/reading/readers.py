"""The readers of a process: few children, shared by all who have documents to be read.

A child is begun when it is needed, reads many documents, and is ended when nobody needs it for a while. One that dies
or is late fails its document, never its worker.
"""

import atexit
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from bedrock_chat.process.interruption import Interrupted, Interruption
from bots.knowledge.reading.kinds import KINDS, kind_of_name
from bots.knowledge.reading.pages import Reading, Unreadable, load
from bots.knowledge.reading.process import Died, Overdue, Process
from bots.knowledge.reading.requests import OTHER_ENGINE, SECOND_ENGINE, Request

__all__ = ["KINDS", "Readers", "kind_of_name", "shared"]

logger = logging.getLogger(__name__)

SECONDS: Final = 60
PDF_SECONDS: Final = 300
IDLE_SECONDS: Final = 60
DOCUMENTS_PER_CHILD: Final = 200
DRAWN_AT_ONCE: Final = 4
"""Pages that one request asks a child to draw, so that other documents have their turn in between."""
MOST_PICTURE_BYTES: Final = 8 * 1024 * 1024
BYTES_PER_CHARACTER: Final = 12
"""What a character of a reading may take: in UTF-8, escaped as JSON escapes controls, with headings and links."""
MOST_SENTENCE_CHARACTERS: Final = 300
LOOK_SECONDS: Final = 0.2
"""How often who waits for a place looks whether they are interrupted."""
OTHER_BYTES: Final = 16 * 1024 * 1024
DIED: Final = "this file ended the program that reads it, as damaged and oversized files do."


class Readers:
    """At most `most` children. Used from many threads."""

    def __init__(
        self,
        most: int,
        *,
        seconds: int = SECONDS,
        pdf_seconds: int = PDF_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
        documents_per_child: int = DOCUMENTS_PER_CHILD,
    ) -> None:
        self._places = threading.BoundedSemaphore(most)
        self._seconds = seconds
        self._pdf_seconds = pdf_seconds
        self._idle_seconds = idle_seconds
        self._documents_per_child = documents_per_child
        self._lock = threading.Lock()
        self._idle: list[tuple[float, Process]] = []  # since when, on the monotonic clock; the latest comes last
        self._busy: set[Process] = set()
        self._timer: threading.Timer | None = None
        self._has_ended = False

    # ---- Reading ----------------------------------------------------------------------------------------------------

    def read(
        self,
        path: str,
        kind: str,
        *,
        media_type: str = "",
        charset: str = "",
        url: str = "",
        most_characters: int,
        most_pages: int,
        interruption: Interruption,
    ) -> Reading:
        """What a document says. Raises Unreadable with the reason, and Interrupted.

        `kind` is one of KINDS; `charset` is what the server declared, `url` where a page of the web was fetched.
        `media_type` is not looked at: the content itself tells whether it is of its kind.
        """
        request = Request(
            path=path,
            kind=kind,
            seconds=self._pdf_seconds if kind == "pdf" else self._seconds,
            most_characters=most_characters,
            most_pages=most_pages,
            charset=charset,
            url=url,
        )
        most_bytes = BYTES_PER_CHARACTER * most_characters + OTHER_BYTES
        try:
            [(head, body)] = self._ask(request, most_bytes, interruption)
        except Died:
            if kind != "xlsx":
                raise Unreadable(DIED) from None
            head = {"outcome": OTHER_ENGINE}  # calamine ends its process on some workbooks
        if head["outcome"] == OTHER_ENGINE:
            try:
                [(head, body)] = self._ask(replace(request, engine=SECOND_ENGINE), most_bytes, interruption)
            except Died:
                raise Unreadable(DIED) from None
        return _reading(head, body, most_bytes=most_bytes, most_characters=most_characters)

    def render(self, path: str, pages: Sequence[int], interruption: Interruption) -> Iterator[tuple[int, bytes]]:
        """Pages of a PDF as PNG, with their numbers; blank ones as nothing. Raises Unreadable and Interrupted."""
        for first in range(0, len(pages), DRAWN_AT_ONCE):
            numbers = tuple(pages[first : first + DRAWN_AT_ONCE])
            request = Request(path=path, kind="pdf", seconds=self._pdf_seconds, drawn_pages=numbers)
            try:
                *drawn, (head, body) = self._ask(request, MOST_PICTURE_BYTES, interruption)
            except Died:
                raise Unreadable(DIED) from None
            if head["outcome"] != "drawn":
                _reading(head, body, most_bytes=MOST_PICTURE_BYTES, most_characters=0)
            yield from ((int(head["page"]), picture) for head, picture in drawn)

    @property
    def pids(self) -> set[int]:
        """The children that live."""
        with self._lock:
            processes = {*self._busy, *(process for _, process in self._idle)}
            return {process.pid for process in processes if process.is_alive}

    def end(self) -> None:
        """Ends all children, for good. Who waits for one gets Interrupted."""
        with self._lock:
            self._has_ended = True
            idle, self._idle = self._idle, []
            for process in self._busy:
                process.kill()
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        for _, process in idle:
            process.close()

    def _ask(self, request: Request, most_bytes: int, interruption: Interruption) -> list[tuple[dict[str, Any], bytes]]:
        """The frames of an answer. Raises Died, Unreadable for a late one, and Interrupted."""
        with self._child(interruption) as process:
            try:
                with interruption.ending(process.kill):
                    return list(process.ask(request, most_bytes=most_bytes))
            except Overdue:
                raise Unreadable(f"reading this file took longer than {request.seconds} seconds.") from None
            except Died:
                interruption.check()
                if self._has_ended:
                    raise Interrupted from None
                logger.warning("A reader died.", extra={"kind": request.kind})
                raise

    # ---- Children ---------------------------------------------------------------------------------------------------

    @contextmanager
    def _child(self, interruption: Interruption) -> Iterator[Process]:
        """A child for one document, once there is a place for it. It is kept if the block raises nothing."""
        while not self._places.acquire(timeout=LOOK_SECONDS):
            interruption.check()
        try:
            interruption.check()
            process = self._taken()
            is_well = False
            try:
                yield process
                is_well = True
            finally:
                self._give_back(process, is_well=is_well)
        finally:
            self._places.release()

    def _taken(self) -> Process:
        with self._lock:
            process = self._idle.pop()[1] if self._idle else None
        if process is not None and not process.is_alive:  # the system may have ended it
            process.close()
            process = None
        if process is None:
            process = Process()
        with self._lock:
            if not self._has_ended:
                self._busy.add(process)
                return process
        process.close()
        raise Interrupted

    def _give_back(self, process: Process, *, is_well: bool) -> None:
        with self._lock:
            self._busy.discard(process)
            if (
                is_well
                and process.answered < self._documents_per_child
                and not process.is_leaving
                and not self._has_ended
            ):
                self._idle.append((time.monotonic(), process))
                self._watch_idle()
                return
        process.close()

    def _watch_idle(self) -> None:
        """Has a thread look at idle children as long as there are any. The lock is held."""
        if self._timer is None and self._idle:
            self._timer = threading.Timer(self._idle_seconds, self._end_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_idle(self) -> None:
        with self._lock:
            self._timer = None
            before = time.monotonic() - self._idle_seconds
            ended = [process for since, process in self._idle if since <= before]
            self._idle = [(since, process) for since, process in self._idle if since > before]
            self._watch_idle()
        for process in ended:
            process.close()


def _reading(head: dict[str, Any], body: bytes, *, most_bytes: int, most_characters: int) -> Reading:
    """What an answer means. It is held against the bounds once more: a hostile document may have written it."""
    try:
        reading = load(body, most_bytes=most_bytes) if body else Reading(())
    except ValueError:
        raise Unreadable(DIED) from None
    if head["outcome"] != "read":
        if error := head.get("error"):
            logger.info("A document could not be read.", extra={"error": str(error)[:100]})
        raise Unreadable(str(head.get("sentence", DIED))[:MOST_SENTENCE_CHARACTERS], replace(reading, pages=()))
    if sum(len(page.text) for page in reading.pages) > most_characters or not reading.pages:
        raise Unreadable(DIED)
    return reading


# ---- The process's own ----------------------------------------------------------------------------------------------

_lock = threading.Lock()
_readers: Readers | None = None


def shared(most: int) -> Readers:
    """The readers of this process, which are made with the first call: at most `most` of them."""
    global _readers  # noqa: PLW0603 - one for the process
    with _lock:
        if _readers is None:
            _readers = Readers(most)
            atexit.register(_readers.end)
        return _readers


def _forget() -> None:
    """In a process that was forked: the pipes of the readers are its parent's."""
    global _lock, _readers
    _lock, _readers = threading.Lock(), None


os.register_at_fork(after_in_child=_forget)
