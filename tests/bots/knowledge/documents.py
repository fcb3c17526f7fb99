"""Documents to be read, made when a test needs them."""

import io
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image


def pdf(
    pages: Sequence[str | None],
    *,
    title: str = "",
    picture: bool = False,
    password: bool = False,
    size: tuple[int, int] = (595, 842),
) -> bytes:
    """A PDF of pages of lines; None is a page without text, on which `picture` draws one of its own.

    `password` marks it as encrypted with a key that nobody has.
    """
    objects: list[bytes] = []

    def add(body: bytes) -> int:
        objects.append(body)
        return len(objects)

    latin = add(b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>")
    system = b"<</Registry(Adobe)/Ordering(Japan1)/Supplement 6>>"
    child = add(b"<</Type/Font/Subtype/CIDFontType0/BaseFont/HeiseiMin-W3/CIDSystemInfo" + system + b">>")
    japanese = add(
        b"<</Type/Font/Subtype/Type0/BaseFont/HeiseiMin-W3/Encoding/UniJIS-UTF16-H/DescendantFonts[%d 0 R]>>" % child
    )
    image = add(
        _stream(
            b"\x00\xff" * 32, b"/Type/XObject/Subtype/Image/Width 8/Height 8/ColorSpace/DeviceGray/BitsPerComponent 8"
        )
    )
    tree = len(objects) + 2 * len(pages) + 1
    kids = []
    for index, text in enumerate(pages):
        drawn = b"q 100 0 0 100 20 %d cm /I Do Q" % (size[1] - 120 - index) if picture else b""
        contents = add(_stream(drawn if text is None else _drawn(text)))
        fonts = b"/Font<</L %d 0 R/J %d 0 R>>/XObject<</I %d 0 R>>" % (latin, japanese, image)
        kids.append(
            add(
                b"<</Type/Page/Parent %d 0 R/MediaBox[0 0 %d %d]/Resources<<%s>>/Contents %d 0 R>>"
                % (tree, *size, fonts, contents)
            )
        )
    add(b"<</Type/Pages/Count %d/Kids[%s]>>" % (len(kids), b" ".join(b"%d 0 R" % kid for kid in kids)))
    root = add(b"<</Type/Catalog/Pages %d 0 R>>" % tree)
    info = add(b"<</Title(%s)>>" % title.encode("latin-1"))
    encrypted = b""
    if password:
        key = b"<" + b"1f" * 32 + b">"
        encrypted = b"/Encrypt %d 0 R/ID[<00><00>]" % add(b"<</Filter/Standard/V 1/R 2/P -4/O%s/U%s>>" % (key, key))
    file = io.BytesIO()
    file.write(b"%PDF-1.7\n")
    offsets = []
    for number, body in enumerate(objects, 1):
        offsets.append(file.tell())
        file.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    table = file.tell()
    file.write(b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1))
    file.writelines(b"%010d 00000 n \n" % offset for offset in offsets)
    file.write(b"trailer<</Size %d/Root %d 0 R/Info %d 0 R%s>>\n" % (len(objects) + 1, root, info, encrypted))
    file.write(b"startxref\n%d\n%%%%EOF" % table)
    return file.getvalue()


def _stream(body: bytes, entries: bytes = b"") -> bytes:
    packed = zlib.compress(body)
    return b"<</Length %d/Filter/FlateDecode%s>>stream\n%s\nendstream" % (len(packed), entries, packed)


def _drawn(text: str) -> bytes:
    """The operators that write the text's lines from the top of a page."""
    rows = [b"BT 14 TL 50 790 Td"]
    for line in text.split("\n"):
        if all(ord(character) < 256 for character in line):
            written = line.encode("cp1252").replace(b"\\", b"\\\\").replace(b"(", b"\\(").replace(b")", b"\\)")
            rows.append(b"/L 11 Tf (%s) Tj T*" % written)
        else:
            rows.append(b"/J 11 Tf <%s> Tj T*" % line.encode("utf-16-be").hex().encode())
    return b"\n".join([*rows, b"ET"])


def docx(path: Path, blocks: Iterable[tuple[str, str | list[list[str]]]], *, title: str = "") -> None:
    """A Word document of (style, text) and ("table", rows)."""
    import docx as library

    document = library.Document()
    document.core_properties.title = title
    for style, content in blocks:
        if isinstance(content, str):
            document.add_paragraph(content, style=style)
            continue
        table = document.add_table(len(content), len(content[0]))
        for row, cells in zip(table.rows, content, strict=True):
            for cell, text in zip(row.cells, cells, strict=True):
                cell.text = text
    document.save(str(path))


def xlsx(path: Path, sheets: dict[str, list[list[object]]]) -> None:
    """An Excel workbook."""
    import openpyxl

    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    workbook.save(path)


def pptx(path: Path, slides: Iterable[tuple[str, str, str]]) -> None:
    """A PowerPoint presentation of (title, text, notes); a slide of three empty strings is blank."""
    import pptx as library

    presentation = library.Presentation()
    for title, text, notes in slides:
        if not (title or text or notes):
            presentation.slides.add_slide(presentation.slide_layouts[6])
            continue
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = text
        if notes:
            slide.notes_slide.notes_text_frame.text = notes
    presentation.save(str(path))


ODS = (
    '<?xml version="1.0"?><office:document-content xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"'
    ' xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"'
    ' xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0">'
    "<office:body><office:spreadsheet>{sheets}</office:spreadsheet></office:body></office:document-content>"
)


def ods(path: Path, sheets: dict[str, list[list[str]]]) -> None:
    """An OpenDocument spreadsheet of texts."""
    import zipfile

    tables = ""
    for name, rows in sheets.items():
        cells = (
            "".join(
                f'<table:table-cell office:value-type="string"><text:p>{cell}</text:p></table:table-cell>'
                for cell in row
            )
            for row in rows
        )
        tables += f'<table:table table:name="{name}">' + "".join(
            f"<table:table-row>{row}</table:table-row>" for row in cells
        )
        tables += "</table:table>"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", ODS.format(sheets=tables))
        archive.writestr(
            "META-INF/manifest.xml",
            '<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>',
        )


def size_of_picture(body: bytes) -> tuple[int, int]:
    with Image.open(io.BytesIO(body)) as picture:
        assert picture.format == "PNG"
        return picture.size
