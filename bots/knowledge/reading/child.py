"""A reader's process: reads documents that the worker names, until its pipe is closed.

It limits itself before it loads anything: what documents are made to do happens here, and ends with this process.
"""

import contextlib
import importlib
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from bots.knowledge.reading.requests import LENGTHS, MOST_HEAD_BYTES, OTHER_ENGINE, Request, frame

MOST_MEMORY: Final = 1024 * 1024 * 1024
"""Bytes of address space. A reader that needs more has a document that was made to need it."""
GRACE_SECONDS: Final = 5
"""How much later than the worker would, the system ends this process, should the worker be gone or stopped."""

LIBXML2_NO_MEMORY: Final = 2


def main() -> None:
    """Reads requests from the standard input and answers on what was the standard output."""
    _limit()
    requests, answers = _pipes()
    while (request := _next(requests)) is not None:
        signal.alarm(request.seconds + GRACE_SECONDS)
        for head, body in _answers(request):
            answers.write(frame(head, body))
            answers.flush()
            if head.get("is_last"):
                return
        signal.alarm(0)


def _limit() -> None:
    os.nice(10)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to the worker, which ends its readers
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # noqa: PLC0415 - where the system has it

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """The pipes of the worker. What libraries print goes nowhere."""
    answers = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    requests = os.fdopen(os.dup(0), "rb")
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)
    return requests, answers


def _next(requests: BinaryIO) -> Request | None:
    lengths = requests.read(LENGTHS.size)
    if len(lengths) < LENGTHS.size:
        return None
    head_length, _ = LENGTHS.unpack(lengths)
    fields = json.loads(requests.read(min(head_length, MOST_HEAD_BYTES)))
    return Request(**{**fields, "drawn_pages": tuple(fields["drawn_pages"])})


# ---- Answers --------------------------------------------------------------------------------------------------------


def _answers(request: Request) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The frames that answer a request; the last one has an `outcome`."""
    from bots.knowledge.reading.pages import OtherEngine, Unreadable, dump  # noqa: PLC0415 - after the limits

    try:
        if request.drawn_pages:
            yield from _drawn(request)
            yield {"outcome": "drawn"}, b""
        else:
            yield {"outcome": "read"}, dump(_read(request))
    except OtherEngine:
        yield {"outcome": OTHER_ENGINE}, b""
    except Unreadable as error:
        yield {"outcome": "unreadable", "sentence": error.sentence}, dump(error.reading)
    except MemoryError:
        yield _TOO_LARGE, b""
    except Exception as error:  # noqa: BLE001 - every library has its own, and all of them mean this document
        if _is_of_memory(error):
            yield _TOO_LARGE, b""
            return
        sentence = "this file is damaged, or made in a way that cannot be read."
        yield {"outcome": "failed", "sentence": sentence, "error": type(error).__name__}, b""


def _is_of_memory(error: Exception) -> bool:
    """Whether a library had too little memory. libxml2 says that as an error of syntax, of a code that means it."""
    is_of_libxml2 = type(error).__name__ == "XMLSyntaxError" and getattr(error, "code", None) == LIBXML2_NO_MEMORY
    return is_of_libxml2 or "memory" in str(error).lower()


_TOO_LARGE: Final = {
    "outcome": "failed",
    "sentence": "this file is too large: reading it takes more than 1 GB of memory.",
    "error": "MemoryError",
    "is_last": True,  # what is left of the memory is in pieces
}


def _drawn(request: Request) -> Iterator[tuple[dict[str, Any], bytes]]:
    from bots.knowledge.reading.pdf import draw  # noqa: PLC0415 - after the limits

    for number, picture in draw(request):
        yield {"page": number}, picture


def _read(request: Request) -> Any:
    from bots.knowledge.reading import kinds  # noqa: PLC0415 - after the limits
    from bots.knowledge.reading.building import Builder, Full  # noqa: PLC0415

    kinds.check(Path(request.path), request.kind)
    builder = Builder(request.most_characters, request.most_pages)
    with contextlib.suppress(Full):
        _reader(request.kind)(request, builder)
    return builder.reading()


def _reader(kind: str) -> Any:
    """The function that reads this type. Its library is loaded with the first such document."""
    module, function = _READERS[kind]
    return getattr(importlib.import_module(f"bots.knowledge.reading.{module}"), function)


_READERS: Final = {
    "txt": ("plain", "read_text"),
    "json": ("plain", "read_text"),
    "md": ("plain", "read_markdown"),
    "csv": ("plain", "read_rows"),
    "tsv": ("plain", "read_rows"),
    "rtf": ("plain", "read_rtf"),
    "html": ("html", "read_html"),
    "pdf": ("pdf", "read_pdf"),
    "docx": ("office", "read_docx"),
    "pptx": ("office", "read_pptx"),
    "xlsx": ("sheets", "read_sheets"),
    "xls": ("sheets", "read_sheets"),
    "ods": ("sheets", "read_sheets"),
}
