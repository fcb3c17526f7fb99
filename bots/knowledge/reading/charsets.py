"""From a file's bytes to its text: the declared charset, strict UTF-8, then a guess."""

import codecs
import contextlib
import re
from pathlib import Path
from typing import Final

from bots.knowledge.reading.pages import Unreadable

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16's, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_WINDOWS: Final = {
    "iso8859-1": "cp1252",
    "ascii": "cp1252",
    "shift_jis": "cp932",
    "gb2312": "gb18030",
    "gbk": "gb18030",
}
"""Charsets that are declared and mean their larger relatives, as browsers have it (WHATWG's Encoding)."""
_NO_CHARSETS: Final = {"idna", "punycode", "raw_unicode_escape", "undefined", "unicode_escape", "utf_7"}
"""Codecs of Python's that no page is written in. Some take hours for megabytes, others make text of what shows none."""
_DECLARED_IN_HTML: Final = re.compile(rb"<meta[^>]{1,200}?charset\s*=\s*[\"']?\s*([\w:.-]{2,40})", re.IGNORECASE)
_DECLARED_IN_XML: Final = re.compile(rb"^\s*<\?xml[^>]{1,100}?encoding\s*=\s*[\"']([\w:.-]{2,40})", re.IGNORECASE)
_LIKELY: Final = ["cp1252", "cp932", "euc_jp", "gb18030", "big5", "euc_kr", "cp1251", "cp1250"]
"""What is guessed among. With all charsets, Latin-1 is taken for one of Central Europe."""
_GUESSED_BYTES: Final = 256 * 1024
_ISO_2022_JP: Final = re.compile(rb"\x1b\$[@B]")


def text_of(path: Path, *, charset: str = "", is_html: bool = False, most_characters: int) -> tuple[str, bool]:
    """The beginning of a file's text, and whether there is more of it.

    Four bytes a character are read, so there is more than `most_characters` of most scripts.
    Raises Unreadable if the file is not text.
    """
    with path.open("rb") as file:
        body = file.read(4 * most_characters)
        is_cut = bool(file.read(1))
    return decoded(body, charset=charset, is_html=is_html, is_cut=is_cut), is_cut


def decoded(body: bytes, *, charset: str = "", is_html: bool = False, is_cut: bool = False) -> str:
    """The text of some bytes; of the beginning of a file if `is_cut`. Raises Unreadable if they are not text."""
    for bom, name in _BOMS:
        if body.startswith(bom):
            return body[len(bom) :].decode(name, "replace")
    head = body[:_GUESSED_BYTES]
    if head.count(b"\0") > len(head) // 20:
        return _of_wide_characters(body, charset)
    candidates = [charset, *(_declared_in(body) if is_html else ())]
    if _ISO_2022_JP.search(head):
        candidates.append("iso2022_jp")
    for name in (*candidates, "utf-8"):
        text = _strictly(body, name, is_cut=is_cut)
        if text is not None:
            return text
    return _guessed(body)


def _of_wide_characters(body: bytes, charset: str) -> str:
    """Text in UTF-16 or UTF-32 without a mark, whose every other byte may be NUL."""
    declared = charset.lower().replace("_", "-")
    name = declared if declared.startswith(("utf-16", "utf-32")) else _utf_16_without_mark(body[:_GUESSED_BYTES])
    with contextlib.suppress(LookupError):
        if name is not None:
            return body.decode(name, "replace")
    raise Unreadable("this file is not text.")


def _declared_in(body: bytes) -> list[str]:
    head = body[:4096]
    return [match[1].decode() for match in (_DECLARED_IN_XML.search(head), _DECLARED_IN_HTML.search(head)) if match]


def _strictly(body: bytes, name: str, *, is_cut: bool) -> str | None:
    """The text in that charset, or None if it is unknown, does not fit, or is no charset of text."""
    try:
        known = codecs.lookup(name.strip("\"' ")).name if name else ""
        if not known or known.replace("-", "_") in _NO_CHARSETS:
            return None
        known = _WINDOWS.get(known, known)
        if is_cut:  # a character may be cut in two
            return codecs.getincrementaldecoder(known)("strict").decode(body, final=False)
        return body.decode(known)
    except (LookupError, ValueError, TypeError, AssertionError):
        return None


def _guessed(body: bytes) -> str:
    import charset_normalizer  # noqa: PLC0415 - costs more than most files

    best = charset_normalizer.from_bytes(body[:_GUESSED_BYTES], cp_isolation=_LIKELY).best()
    if best is None:
        raise Unreadable("this file is not text, or its charset is not known.")
    return body.decode(best.encoding, "replace")


def _utf_16_without_mark(head: bytes) -> str | None:
    """UTF-16 in which every other byte is NUL, as in most texts of Latin script."""
    odd, even = head[1::2].count(b"\0"), head[::2].count(b"\0")
    half = len(head) // 2
    if odd > 0.6 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.6 * half and odd < 0.05 * half else None
