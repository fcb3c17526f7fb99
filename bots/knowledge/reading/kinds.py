"""The types of files that are read: told by the name, and held against the content."""

import zipfile
from pathlib import Path
from typing import Final

from bots.knowledge.reading.pages import Unreadable

NAMES: Final = {
    "txt": "plain text",
    "md": "Markdown",
    "csv": "CSV",
    "tsv": "TSV",
    "json": "JSON",
    "html": "HTML",
    "pdf": "a PDF",
    "docx": "a Word document",
    "xlsx": "an Excel workbook",
    "xls": "an old Excel workbook",
    "ods": "an OpenDocument spreadsheet",
    "pptx": "a PowerPoint presentation",
    "rtf": "RTF",
}
KINDS: Final = frozenset(NAMES)
TEXTS: Final = frozenset({"txt", "md", "csv", "tsv", "json", "html"})
ZIPPED: Final = frozenset({"docx", "xlsx", "pptx", "ods"})
OTHER_ENDINGS: Final = {"htm": "html", "xhtml": "html", "markdown": "md", "text": "txt", "tab": "tsv"}

MOST_UNPACKED_BYTES: Final = 512 * 1024 * 1024
"""What the parts of a zipped document may unpack to. A document of 50 MB that people made stays far below."""
HEAD_BYTES: Final = 4096
OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")
_SIGNATURES: Final = (
    (b"{\\rtf", "RTF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "an archive"),
    (b"Rar!", "an archive"),
    (b"\x7fELF", "a program"),
)


def kind_of_name(name: str) -> str | None:
    """The type that a file's name tells, or None if such files are not read."""
    ending = name.rpartition(".")[2].lower() if "." in name else ""
    kind = OTHER_ENDINGS.get(ending, ending)
    return kind if kind in KINDS else None


def check(path: Path, kind: str) -> None:
    """Raises Unreadable unless the file's content is of its type."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise Unreadable("this file is empty.")
    if head.startswith(OLE) and kind in ZIPPED:
        raise Unreadable(_of_ole(path, kind))
    actual = _actual(path, head)
    if kind in TEXTS:
        is_page = actual == NAMES["html"] and kind in ("csv", "tsv", "json")
        if is_page or actual not in ("", NAMES["html"]):
            raise Unreadable(_mismatch(actual, kind))
    elif actual != NAMES[kind]:
        raise Unreadable(_mismatch(actual, kind) if actual else f"this file is damaged, or is not {NAMES[kind]}.")
    if kind in ZIPPED:
        _check_unpacked_size(path)


def _mismatch(actual: str, kind: str) -> str:
    return f"this is {actual}, though it says that it is {NAMES[kind]}."


def _actual(path: Path, head: bytes) -> str:
    """What the content is, or nothing where it may be any text."""
    if b"%PDF-" in head[:1024]:
        return NAMES["pdf"]
    if head.startswith(OLE):
        return NAMES["xls"]
    if head.startswith(b"PK\x03\x04"):
        return _of_zip(path)
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return NAMES["html"] if start.startswith((b"<!doctype html", b"<html", b"<head", b"<body")) else ""


def _of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if "mimetype" in names and b"opendocument.spreadsheet" in archive.open("mimetype").read(100):
                return NAMES["ods"]
    except (zipfile.BadZipFile, EOFError, OSError, RuntimeError, NotImplementedError, ValueError):
        return "a damaged zip archive"
    for folder, kind in (("word/", "docx"), ("xl/", "xlsx"), ("ppt/", "pptx")):
        if any(name.startswith(folder) for name in names):
            return NAMES[kind]
    return "a zip archive"


def _of_ole(path: Path, kind: str) -> str:
    """What is said of an old container: Office wraps documents that have a password into one."""
    with path.open("rb") as file:
        while block := file.read(1024 * 1024):
            if _ENCRYPTED_PACKAGE in block:
                return "this file needs a password."
            if len(block) == 1024 * 1024:
                file.seek(-len(_ENCRYPTED_PACKAGE), 1)
    return f"this is a file of an old version of Office, though it says that it is {NAMES[kind]}."


def _check_unpacked_size(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MOST_UNPACKED_BYTES:
            raise Unreadable(f"this file is too large: it unpacks to over {MOST_UNPACKED_BYTES // 2**20} MB.")
