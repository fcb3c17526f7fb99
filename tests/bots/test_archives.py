"""Zips that lie: each is a 400 that names the place, costs little, and leaves nothing."""

import io
import json
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from typing import Any

import pytest
from rest_framework.test import APIClient

from bedrock_chat.wire.errors import BadRequest
from bots.models import Bot, TakenBotId
from bots.transfer import archives
from bots.transfer.archives import Archive
from tests.bots.bot import document
from tests.bots.travel import bring_zip, named, zipped
from tests.bots.upload import digest

BODY = b"What Alice knows."
NAME = f"files/{digest(BODY)}"
DOCUMENT = json.dumps(document(files=[named("a.txt", BODY)])).encode()
SOUND = {"bot.json": DOCUMENT, NAME: BODY}
EMPTY = json.dumps(document()).encode()


def twice(*entries: tuple[str, bytes]) -> bytes:
    """A zip that may have an entry more than once."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, body in entries:
            archive.NameToInfo.clear()  # it would warn
            archive.writestr(zipfile.ZipInfo(name), body)
    return file.getvalue()


def patched(offset: int, code: str, value: int, body: bytes | None = None) -> bytes:
    """A sound zip with another number at an offset, counted from the first entry of its directory."""
    raw = bytearray(body or zipped(SOUND))
    (start,) = struct.unpack_from("<L", raw, len(raw) - 6)
    struct.pack_into(code, raw, start + offset, value)
    return bytes(raw)


def ended(raw: bytes, **numbers: int) -> bytes:
    """A zip whose end says something else: of `count`, `size` and `offset`."""
    places = {"count": ("<H", -12), "size": ("<L", -10), "offset": ("<L", -6)}
    changed = bytearray(raw)
    for name, value in numbers.items():
        code, place = places[name]
        struct.pack_into(code, changed, len(changed) + place, value)
    return bytes(changed)


def commented() -> bytes:
    file = io.BytesIO(zipped(SOUND))
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"hello"
    return file.getvalue()


def nowhere() -> bytes:
    """A zip whose file begins further away than any number of a file system can say."""
    entry = zipfile.ZipInfo(NAME)
    entry.extra = struct.pack("<HHQ", 1, 8, 2**64 - 1)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(entry, BODY)
        archive.writestr("bot.json", DOCUMENT)
    return patched(42, "<L", 2**32 - 1, file.getvalue())


FLAGS, METHOD, PACKED, UNPACKED, OFFSET = (8, "<H"), (10, "<H"), (20, "<L"), (24, "<L"), (42, "<L")

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "beginning nowhere": (nowhere, "files/"),
    "no zip": (lambda: b"PK", "This is no zip"),
    "text": (lambda: b"x" * 100, "This is no zip"),
    "cut": (lambda: zipped(SOUND)[:-30], "This is no zip"),
    "comment": (commented, "This is no zip, or one with"),
    "something behind": (lambda: zipped(SOUND) + b"x", "This is no zip, or one with"),
    "something before": (lambda: b"#!/bin/sh\n" + zipped(SOUND), "This zip is of a large kind"),
    "no entries": (lambda: zipped({}), "bot.json: the zip has no such entry"),
    "no document": (lambda: zipped({NAME: BODY}), "bot.json: the zip has no such entry"),
    "path upwards": (lambda: zipped({**SOUND, "../bot.json": b""}), "'../bot.json'"),
    "absolute path": (lambda: zipped({**SOUND, "/etc/passwd": b""}), "'/etc/passwd'"),
    "nested": (lambda: zipped({"bot/bot.json": DOCUMENT}), "'bot/bot.json'"),
    "deep": (lambda: zipped({**SOUND, f"files/a/{digest(BODY)}": BODY}), "'files/a/"),
    "windows path": (lambda: zipped({**SOUND, NAME.replace("/", "\\"): b""}), "'files\\\\"),
    "capitals": (lambda: zipped({**SOUND, NAME.upper(): b""}), "'FILES/"),
    "long name": (lambda: zipped({**SOUND, "x" * 60_000: b""}), "'xxx"),
    "NUL": (lambda: zipped(SOUND).replace(b"bot.json", b"bot.jso\0"), "'bot.jso\\x00'"),
    "line break": (lambda: zipped({**SOUND, "bot.json\n": b""}), "'bot.json\\n'"),
    "zip in the zip": (lambda: zipped({**SOUND, "a.zip": zipped(SOUND)}), "'a.zip'"),
    "document twice": (lambda: twice(("bot.json", EMPTY), ("bot.json", EMPTY)), "bot.json: the zip has this entry twi"),
    "file twice": (lambda: twice(("bot.json", DOCUMENT), (NAME, BODY), (NAME, BODY)), f"{NAME}: the zip has this"),
    "encrypted": (lambda: patched(*FLAGS, 1), "bot.json: this entry of the zip is encrypted"),
    "LZMA": (lambda: zipped(SOUND, zipfile.ZIP_LZMA), "bot.json: this entry of the zip is packed in a way"),
    "BZIP2": (lambda: zipped(SOUND, zipfile.ZIP_BZIP2), "bot.json: this entry of the zip is packed in a way"),
    "unknown packing": (lambda: patched(*METHOD, 99), "bot.json: this entry of the zip is packed in a way"),
    "bomb": (lambda: zipped({"bot.json": DOCUMENT, NAME: bytes(30 * 2**20)}), f"{NAME}: it is packed more than"),
    "bombed document": (lambda: zipped({"bot.json": b" " * (2 * 2**20)}), "bot.json: it is packed more than"),
    "claims a GB": (lambda: patched(*UNPACKED, 2**30), "bot.json: it unpacks to more than 12 MB"),
    "claims too little": (lambda: patched(*UNPACKED, 5), "bot.json: this entry of the zip is damaged"),
    "claims too much": (lambda: patched(*UNPACKED, 1000), "bot.json: this entry of the zip"),
    "another offset": (lambda: patched(*OFFSET, 10), "bot.json: this entry of the zip is damaged"),
    "count of the end": (lambda: ended(zipped(SOUND), count=5000), "This zip has more than 1000 files"),
    "size of the end": (lambda: ended(zipped(SOUND), size=2**31), "This zip is of a large kind"),
    "zip64": (lambda: ended(zipped(SOUND), count=0xFFFF, size=2**32 - 1, offset=2**32 - 1), "This zip is of a large"),
    "many entries": (
        lambda: zipped({"bot.json": EMPTY, **{f"files/{n:064x}": b"" for n in range(1001)}}),
        "The zip ha",
    ),
    "more than 500 MB": (lambda: large(11, packed=50), "The zip unpacks to more than 500 MB"),
    "packed too well together": (lambda: large(2, packed=1), "The zip unpacks to more than 64 MB and 5 times its size"),
    "wrong digest": (lambda: zipped({**SOUND, NAME: b"Something else..."}), f"{NAME}: these bytes have another digest"),
    "wrong size": (
        lambda: zipped(
            {"bot.json": json.dumps(document(files=[{**named("a.txt", BODY), "size": 3}])).encode(), NAME: BODY}
        ),
        "The request is not valid: bot.files.0.size: the file has 17 bytes",
    ),
    "unnamed file": (lambda: zipped({"bot.json": EMPTY, NAME: BODY}), f"{NAME}: the bot has no file"),
    "missing file": (
        lambda: zipped({"bot.json": DOCUMENT}),
        "The request is not valid: bot.files.0: the bytes of a.txt",
    ),
    "no JSON": (lambda: zipped({"bot.json": b"{"}), "bot.json: The body is not valid JSON"),
    "UTF-16": (lambda: zipped({"bot.json": EMPTY.decode().encode("utf-16")}), "bot.json: The body is not valid JSON"),
    "NUL in JSON": (
        lambda: zipped({"bot.json": EMPTY.replace(b'"t"', b'"\\u0000"')}),
        "bot.json: The body holds a NUL",
    ),
    "deep JSON": (lambda: zipped({"bot.json": b"[" * 500 + b"]" * 500}), "bot.json: The body is nested"),
    "many values": (lambda: zipped({"bot.json": b"[" + b"1," * 200_000 + b"1]"}), "bot.json: The body has more than"),
    "empty document": (lambda: zipped({"bot.json": b""}), "The request is not valid: schema"),
}


def large(number: int, *, packed: int) -> bytes:
    """So many entries that all claim 50 MB, of so many packed MB, which are not there."""
    raw = bytearray(zipped({"bot.json": EMPTY, **{f"files/{n:064x}": b"" for n in range(number)}}, zipfile.ZIP_STORED))
    (place,) = struct.unpack_from("<L", raw, len(raw) - 6)
    while raw[place : place + 4] == b"PK\x01\x02":
        length = struct.unpack_from("<H", raw, place + 28)[0]
        if raw[place + 46 : place + 46 + length] != b"bot.json":
            struct.pack_into("<LL", raw, place + 20, packed * 2**20, 50 * 2**20)
        place += 46 + length
    return bytes(raw)


@pytest.mark.django_db
def test_a_zip_that_lies_is_refused_at_its_place(alice: APIClient) -> None:
    wrong = {}
    for name, (build, sentence) in HOSTILE.items():
        response = bring_zip(alice, build())
        detail = response.json()["detail"]
        if response.status_code != 400 or not detail.startswith(sentence) or len(detail) > 500:
            wrong[name] = (response.status_code, detail)
    assert wrong == {}
    assert not Bot.objects.exists()
    assert not TakenBotId.objects.exists()


@pytest.mark.django_db
def test_the_sound_one_is_taken(alice: APIClient) -> None:
    """What the zips above change is right, also as other programs pack it."""
    for body in (
        zipped(SOUND),
        zipped(SOUND, zipfile.ZIP_STORED),
        twice((NAME, BODY), ("files/", b""), ("bot.json", DOCUMENT)),
    ):
        assert bring_zip(alice, body).status_code == 200


def test_a_directory_of_a_million_entries_is_not_read() -> None:
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    directory = entry * 1_000_000
    for count in (1, 0xFFFF):  # the count of the end may be a lie
        end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, len(directory), 0, 0)
        file = io.BytesIO(directory + end)
        tracemalloc.start()
        with pytest.raises(BadRequest, match="more than 1000 files"):
            Archive(file)
        (_, peak) = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1_000_000


def test_no_flipped_byte_is_a_fault(monkeypatch: Any) -> None:
    """Whichever byte of a zip is another one, it is read as before, or refused."""
    raw = zipped({"bot.json": EMPTY, NAME: BODY})
    for place in range(len(raw)):
        for change in (0x01, 0x80, 0xFF):
            flipped = bytearray(raw)
            flipped[place] ^= change
            try:
                archive = Archive(io.BytesIO(bytes(flipped)))
                archive.document()
                for sha256 in archive.digests:
                    archive.read(sha256)
            except BadRequest:
                continue
    assert archives.MOST_FILES == 1000
