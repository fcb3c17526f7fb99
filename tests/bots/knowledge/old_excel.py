"""An Excel workbook as Excel 97 wrote it: records (BIFF8) in a container of OLE with one stream."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

SECTOR = 512
END, FREE, TABLE = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


@dataclass(frozen=True)
class Days:
    """A cell that is shown as hours and minutes."""

    number: float


def xls(name: str, rows: Sequence[Sequence[str | float | Days]]) -> bytes:
    """A workbook of one sheet."""
    sheet = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0010, 0x0DBB, 0x07CC, 0, 6))
    for row, cells in enumerate(rows):
        for column, cell in enumerate(cells):
            place = struct.pack("<HHH", row, column, 0)
            if isinstance(cell, str):
                sheet += _record(0x0204, place + struct.pack("<HB", len(cell), 1) + cell.encode("utf-16-le"))
            else:
                style, number = (1, cell.number) if isinstance(cell, Days) else (0, cell)
                sheet += _record(0x0203, struct.pack("<HHHd", row, column, style, number))
    sheet += _record(0x000A, b"")
    begin = _record(0x0809, struct.pack("<HHHHII", 0x0600, 0x0005, 0x0DBB, 0x07CC, 0, 6))
    begin += _record(0x0042, struct.pack("<H", 1200))
    for shown_as in (0, 46):  # in general, and [h]:mm:ss
        begin += _record(0x00E0, struct.pack("<HH16x", 0, shown_as))
    title = struct.pack("<BB", len(name), 1) + name.encode("utf-16-le")
    start = len(begin) + 4 + 6 + len(title) + 4
    stream = begin + _record(0x0085, struct.pack("<IBB", start, 0, 0) + title) + _record(0x000A, b"") + sheet
    return _container(stream.ljust(4096, b"\0"))


def _record(kind: int, body: bytes) -> bytes:
    return struct.pack("<HH", kind, len(body)) + body


def _container(stream: bytes) -> bytes:
    """Sectors: the table of sectors, the directory, the stream. A stream of 4 KB or more has sectors of its own."""
    count = -(-len(stream) // SECTOR)
    table = [TABLE, END, *range(3, 2 + count), END]
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", 0x3E, 3, 0xFFFE, 9, 6, 0, 1, 1, 0, 4096, END, 0, END, 0,
    )  # fmt: skip
    header += struct.pack("<109I", 0, *[FREE] * 108)
    directory = _entry("Root Entry", 5, child=1, start=END, size=0) + _entry("Workbook", 2, start=2, size=len(stream))
    sectors = struct.pack(f"<{SECTOR // 4}I", *table, *[FREE] * (SECTOR // 4 - len(table)))
    return header + sectors + directory.ljust(SECTOR, b"\0") + stream.ljust(count * SECTOR, b"\0")


def _entry(name: str, kind: int, *, start: int, size: int, child: int = FREE) -> bytes:
    written = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<64sHBBIII16xI16xIQ", written, len(written), kind, 1, FREE, FREE, child, 0, start, size)
