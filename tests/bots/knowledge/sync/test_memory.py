"""A worker whose syncs meet hostile documents stays small: what they unpack to is in its readers, or nowhere."""

import gzip
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from tests.bots.bot import payload
from tests.bots.knowledge import documents
from tests.bots.knowledge.sync.browser import Browser
from tests.bots.knowledge.sync.syncs import Site, page
from tests.bots.knowledge.test_hostile_documents import body_of, docx_of
from tests.bots.upload import sources
from tests.emulator import Emulator
from tests.hostile.costs import MEGABYTE, memory_of
from tests.live import LiveServer
from tests.metrics.scrapes import working

MOST_MORE = 96 * MEGABYTE
"""What the worker may take more than it had after documents as usual; half of it was measured. Each bomb is larger."""
BLANK = b" " * MEGABYTE


def packed(megabytes: int, piece: bytes = BLANK, *, beginning: bytes = b"") -> bytes:
    """Gzip of so many megabytes."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packing:
        packing.write(beginning)
        for _ in range(megabytes):
            packing.write(piece)
    return file.getvalue()


def claiming(body: bytes) -> bytes:
    """Gzip whose last bytes say that it unpacks to 2 GB."""
    return gzip.compress(body)[:-4] + struct.pack("<I", 2 * 1024**3 - 1)


def with_sheet(plain: bytes, piece: bytes, number: int) -> bytes:
    """A workbook whose sheet holds this XML so many times."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(plain)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in source.infolist():
            if entry.filename != "xl/worksheets/sheet1.xml":
                archive.writestr(entry, source.read(entry))
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part:
            part.write(b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>')
            for _ in range(number):
                part.write(piece)
            part.write(b"</sheetData></worksheet>")
    return file.getvalue()


def pdf_of(contents: bytes, *, extra: bytes = b"", count: int = 1) -> bytes:
    """A PDF whose only page has these operators, packed twice."""
    twice = zlib.compress(zlib.compress(contents))
    return (
        b"%%PDF-1.7\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n2 0 obj<</Type/Pages/Count %d/Kids[3 0 R]>>endobj\n"
        b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R>>endobj\n"
        b"4 0 obj<</Length %d/Filter[/FlateDecode/FlateDecode]>>stream\n%s\nendstream endobj\n"
        b"5 0 obj[%s]endobj\ntrailer<</Root 1 0 R>>" % (count, len(twice), twice, extra)
    )


def hostile_files(folder: Path) -> Iterator[tuple[str, bytes]]:
    documents.docx(folder / "plain.docx", [("Normal", "Text.")])
    docx = (folder / "plain.docx").read_bytes()
    workbook = openpyxl.Workbook()
    workbook.active["A1"] = "Text."
    workbook.save(folder / "plain.xlsx")
    xlsx = (folder / "plain.xlsx").read_bytes()
    megabyte = b"<w:p/>" * (MEGABYTE // 6)
    yield "bomb.docx", docx_of(docx, body_of(*[megabyte] * 520))
    yield "large.docx", docx_of(docx, body_of(*[megabyte] * 150))
    yield "deep.docx", docx_of(docx, body_of(b"<w:p>" * 100_000))
    yield "bomb.xlsx", with_sheet(xlsx, b"<row/>" * (MEGABYTE // 6), 520)
    yield "cells.xlsx", with_sheet(xlsx, b"<row>" + b'<c t="inlineStr"><is><t>x</t></is></c>' * 1000 + b"</row>", 500)
    yield "stream.pdf", pdf_of(b"q Q " * (40 * MEGABYTE))
    yield "objects.pdf", pdf_of(b"", extra=b"0 " * (20 * MEGABYTE), count=2**31 - 1)
    yield "deep.html", b"<html><body>" + b"<div>" * 800_000 + b"text"
    yield "long.txt", b"word" * (10 * MEGABYTE)


PAGES = {
    "/robots.txt": (200, {"Content-Type": "text/plain", "Content-Encoding": "gzip"}, packed(150, BLANK)),
    "/bomb": (200, {"Content-Encoding": "gzip"}, packed(150, beginning=b"<html><body><p>")),
    "/claims": (200, {"Content-Encoding": "gzip"}, claiming(page("Claims", "This page claims much.").encode())),
    "/links": "<html><body>" + "".join(f'<a href="/links/{"x" * 1900}{n}">x</a>' for n in range(2_500)),
    "/bomb.xml": packed(150, beginning=b"<urlset>"),
}


REASONS = {
    "bomb.docx": "it unpacks to over 512 MB",
    "large.docx": "more than 1 GB of memory",
    "deep.docx": "damaged",
    "bomb.xlsx": "it unpacks to over 512 MB",
    "cells.xlsx": "only the first",
    "stream.pdf": "holds no text",
    "objects.pdf": "ended the program that reads it",
    "deep.html": "holds no text",
    "long.txt": "only the first",
    "bomb": "larger than 5 MB",
    "claims": "not HTTP",
    "links": "only the first",
    "bomb.xml": "larger than 50 MB",
}
"""What is said of each document, or of each source that names none."""
TOO_LATE = "took longer than"
"""What may be said of a file on a busy machine instead."""


@pytest.mark.slow
def test_a_worker_that_meets_hostile_documents_stays_small(
    tmp_path: Path, data: Path, database_url: str, emulator_process: Emulator
) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("/proc is Linux's")
    emulator_process.reset()
    variables = {
        "DATABASE_URL": database_url,
        "OUTBOUND_ALLOW": "127.0.0.0/8",
        "CRAWL_PAGES_PER_MINUTE": "100000",
        "KNOWLEDGE_MAX_DOCUMENTS": "50",
        "KNOWLEDGE_MAX_CHARACTERS": "300000",
    }
    with (
        Site({"/usual": page("Usual", "Everybody has thirty days.")}) as usual,
        Site(dict(PAGES)) as site,
        LiveServer(data, emulator_process.url, **variables) as server,
        working(server) as worker,
    ):
        site.pages["/map.xml"] = "<urlset>" + "".join(
            f"<url><loc>{site.url}/{'x' * 1900}{number}</loc></url>" for number in range(25_000)
        )
        browser = Browser(server)
        for name, body in (("a.txt", b"Apples are red."), ("a.pdf", documents.pdf(["Bananas are yellow."]))):
            browser.upload("usual", name, body, "text/plain")
        knowledge = {**sources("a.txt", "a.pdf"), "sourceUrls": [f"{usual.url}/usual"]}
        browser.call("POST", "/bot", payload("usual", knowledge=knowledge))
        assert browser.poll("usual")["syncStatus"] == "SUCCEEDED"

        names = []
        for name, body in hostile_files(tmp_path):
            assert len(body) < 50 * MEGABYTE, name
            browser.upload("hostile", name, body, "application/octet-stream")
            names.append(name)
        proc = Path(f"/proc/{worker}")
        (proc / "clear_refs").write_text("5")  # the peak of the memory is measured from here
        before = memory_of(proc, "VmRSS")
        urls = [f"{site.url}{path}" for path in ("/bomb", "/claims", "/links")]
        maps = [f"{site.url}{path}" for path in ("/bomb.xml", "/map.xml")]
        knowledge = {**sources(*names), "sourceUrls": urls, "sitemapUrls": maps}
        browser.call("POST", "/bot", payload("hostile", knowledge=knowledge))
        bot = browser.poll("hostile", seconds=500)
        grown = memory_of(proc, "VmHWM") - before
        reasons = {one["name"]: one["reason"] for one in browser.call("GET", "/bot/hostile/knowledge/documents")}
        sources_by_end = {one["location"].rpartition("/")[2]: one for one in _sources(browser)}
    assert bot["syncStatus"] == "FAILED"
    for name, word in REASONS.items():
        reason = reasons.get(name) or sources_by_end[name]["reason"]
        assert word in reason or TOO_LATE in reason, (name, reason)
    assert sources_by_end["map.xml"]["state"] == "listed"
    assert site.requests["/robots.txt"]
    assert grown < MOST_MORE, f"{grown / MEGABYTE:.0f} MB"


def _sources(browser: Browser) -> list[dict[str, Any]]:
    report: dict[str, Any] = browser.call("GET", "/bot/hostile/knowledge")
    return list(report["sources"])
