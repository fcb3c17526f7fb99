"""Which of the readers' kinds a document is, by its name's ending and by what a server says."""

from typing import Final
from urllib.parse import unquote, urlsplit

from bots.knowledge.reading import cleaning
from bots.knowledge.reading.kinds import kind_of_name

LONGEST_NAME: Final = 1_000
"""Characters. A key in S3 may be longer."""

SAVE_AS: Final = {
    "doc": "DOCX",
    "ppt": "PPTX",
    "odt": "DOCX",
    "odp": "PPTX",
    "pages": "PDF",
    "numbers": "XLSX",
    "key": "PDF",
    "epub": "PDF",
}
"""Ending of a file that is not read → what its program can save it as."""
PAGES: Final = "html"
_KIND_OF_MEDIA_TYPE: Final = {
    "text/html": PAGES,
    "application/xhtml+xml": PAGES,
    "text/plain": "txt",
    "text/markdown": "md",
    "text/x-markdown": "md",
    "text/csv": "csv",
    "text/tab-separated-values": "tsv",
    "text/rtf": "rtf",
    "application/rtf": "rtf",
    "application/json": "json",
    "application/pdf": "pdf",
    "application/x-pdf": "pdf",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
    "application/vnd.openxmlformats-officedocument.presentationml.presentation": "pptx",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
}
_SAYS_LITTLE: Final = frozenset(
    {"", "text/plain", "application/octet-stream", "binary/octet-stream", "application/force-download"}
)
"""What servers say of files that they do not know; the name decides then."""
_NOT_READ: Final = frozenset(
    """
    7z aac apk avi avif bin bmp bz2 css dmg eot exe flac gif gz ico iso jar jpeg jpg js m4a m4v map mjs mkv mov mp3 mp4
    mpeg mpg msi ogg ogv otf png rar svg swf tar tgz tif tiff ttf wasm wav webm webmanifest webp wmv woff woff2 xz zip
    """.split()  # noqa: SIM905  a list of words is easier to read
)


def ending_of(name: str) -> str:
    """A name's ending in lower case, without the dot; empty where it has none."""
    stem, dot, ending = name.rpartition(".")
    return ending.lower() if dot and stem else ""


def refusal_of_name(name: str) -> str:
    """What is said of a file that is not read."""
    return f"This type of file is not supported; save it as {save_as(ending_of(name))}."


def save_as(ending: str) -> str:
    """As what the program of such files can save them, so that they are read."""
    return SAVE_AS.get(ending, "PDF, DOCX or TXT")


def name_of(url: str) -> str:
    """The last part of a URL's path, as people read it, however it was encoded; its host where the path has none."""
    parts = urlsplit(url)
    return seen(unquote(parts.path.rstrip("/").rpartition("/")[2])) or parts.hostname or ""


def seen(name: str) -> str:
    """A name, or a sentence with one, as people read it: without line breaks and what nobody sees, such as marks that
    turn the direction of writing, with which `invoice…fdp.exe` looks like a PDF.
    """
    return cleaning.line(name, LONGEST_NAME)


def kind_of_url(url: str) -> str | None:
    """The kind of the file that a URL's path names; None where it names none, as most pages do."""
    return kind_of_name(unquote(urlsplit(url).path).rpartition("/")[2])


def is_unread(url: str) -> bool:
    """Whether a URL's path names a picture, a film, an archive: nothing with a text."""
    return ending_of(urlsplit(url).path.rpartition("/")[2]) in _NOT_READ


def kind_of_answer(media_type: str, url: str) -> str | None:
    """The kind of what a server sent for a URL; None for what is not read. A page is what says nothing of itself."""
    named = kind_of_url(url)
    if media_type not in _SAYS_LITTLE:
        return _KIND_OF_MEDIA_TYPE.get(media_type)
    if named is not None:
        return named
    return _KIND_OF_MEDIA_TYPE.get(media_type) if media_type else (None if is_unread(url) else PAGES)
