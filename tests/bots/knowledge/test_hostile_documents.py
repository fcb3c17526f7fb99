"""Documents that were made to do harm: each ends in a sentence, or in what little can be read of it."""

import io
import resource
import zipfile
from collections.abc import Iterable
from pathlib import Path

import openpyxl
import pytest

from bots.knowledge.reading.pages import Unreadable
from bots.knowledge.reading.readers import Readers
from tests.bots.knowledge import documents
from tests.bots.knowledge.conftest import Read

WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
DAMAGED = "this file is damaged, or made in a way that cannot be read."


@pytest.fixture
def plain_docx(tmp_path: Path) -> bytes:
    documents.docx(tmp_path / "plain.docx", [("Normal", "Text.")])
    return (tmp_path / "plain.docx").read_bytes()


def docx_of(plain: bytes, pieces: Iterable[bytes]) -> bytes:
    """A Word document whose text is this XML."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(plain)) as source, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry in source.infolist():
            if entry.filename != "word/document.xml":
                archive.writestr(entry, source.read(entry))
        with archive.open("word/document.xml", "w", force_zip64=True) as part:
            for piece in pieces:
                part.write(piece)
    return file.getvalue()


def body_of(*pieces: bytes) -> Iterable[bytes]:
    yield b'<w:document xmlns:w="%s"><w:body>' % WORD.encode()
    yield from pieces
    yield b"</w:body></w:document>"


def paragraph(text: str) -> str:
    return f'<w:document xmlns:w="{WORD}"><w:body><w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>'


def test_tags_nested_ten_thousand_deep_entities_and_files_of_the_server(read: Read, plain_docx: bytes) -> None:
    nested = docx_of(plain_docx, body_of(b"<w:p>" * 10_000 + b"</w:p>" * 10_000))
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10 if n else "lol"}">' for n in range(12))
    bomb = f"<!DOCTYPE x [{entities}]>{paragraph('&a11;')}"
    for name, body, sentence in (
        ("a.html", "<html><body>" + "<div>" * 10_000 + "text" + "</div>" * 10_000, "this page holds no text."),
        ("a.docx", nested, DAMAGED),
        ("b.docx", docx_of(plain_docx, [bomb.encode()]), DAMAGED),
    ):
        with pytest.raises(Unreadable) as raised:
            read(name, body)
        assert raised.value.sentence == sentence

    outside = '<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/hostname">]>'
    xml = outside + paragraph("Dear &file; reader")
    assert (
        Path("/etc/hostname").read_text().strip()
        not in read("c.docx", docx_of(plain_docx, [xml.encode()])).pages[0].text
    )
    assert len(read("b.html", f"{outside}<p>{bomb}</p>").pages[0].text) < 1_000
    assert read("a.csv", '"' + "a" * 1_000_000).pages[0].text.endswith("a")
    assert read("a.rtf", "{\\rtf1 " + "{" * 50_000 + "text" + "}" * 50_000 + "}").pages[0].text == "text"


@pytest.mark.slow
def test_a_workbook_that_kills_one_library_is_read_by_the_other(read: Read, tmp_path: Path) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for row in (["Name", "Price"], ["Bolt", 3]):
        sheet.append(row)
    sheet["XFD1048576"] = "far away"
    workbook.save(tmp_path / "far.xlsx")
    assert read("far.xlsx").pages[0].text == "Name: Bolt; Price: 3\nfar away"


@pytest.mark.slow
def test_what_unpacks_to_hundreds_of_megabytes_takes_the_worker_no_memory(read: Read, plain_docx: bytes) -> None:
    megabyte = b"<w:p/>" * (1024 * 1024 // 6)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for megabytes, sentence in (
        (600, "this file is too large: it unpacks to over 512 MB."),
        (150, "this file is too large: reading it takes more than 1 GB of memory."),
    ):
        body = docx_of(plain_docx, body_of(*[megabyte] * megabytes))
        assert len(body) < 2 * 1024 * 1024
        with pytest.raises(Unreadable) as raised:
            read("a.docx", body)
        assert raised.value.sentence == sentence
    assert read("a.txt", "Other documents are read.").pages
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 1024


@pytest.mark.slow
def test_of_a_pdf_of_twenty_thousand_pages_the_first_ten_thousand_are_read(read: Read) -> None:
    reading = read("a.pdf", documents.pdf([f"This is page {number} of many." for number in range(1, 20_001)]))
    assert len(reading.pages) == 10_000
    assert reading.pages[-1].text == "This is page 10000 of many."
    assert reading.note == "only the first 10,000 of 20,000 pages were read."


@pytest.mark.slow
def test_endless_markup_ends_at_the_deadline(tmp_path: Path) -> None:
    from tests.bots.knowledge.test_readers import SLOW_PAGE, begun
    from tests.bots.knowledge.test_readers import read as read_by

    path = tmp_path / "a.html"
    path.write_text(SLOW_PAGE)
    with begun(seconds=2) as readers, pytest.raises(Unreadable, match="took longer than 2 seconds"):
        read_by(readers, path, most_characters=len(SLOW_PAGE))
    many = tmp_path / "b.html"
    many.write_text("<html><body>" + "<p>word</p>" * 400_000)
    with begun() as readers:
        assert isinstance(readers, Readers)
        assert read_by(readers, many).note == "only the first 100,000 characters were read."
