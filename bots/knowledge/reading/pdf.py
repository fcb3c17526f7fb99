"""PDF by PDFium: text page by page, and pages without text as pictures."""

import io
from collections.abc import Iterator
from contextlib import closing
from typing import Final

import pypdfium2
from pypdfium2 import raw

from bots.knowledge.reading.building import Builder, without_text
from bots.knowledge.reading.cleaning import clean
from bots.knowledge.reading.pages import Unreadable
from bots.knowledge.reading.pdf_lines import joined_lines
from bots.knowledge.reading.requests import Request

FEW_CHARACTERS: Final = 20
"""A page with a picture and fewer visible characters is a scan with a number on it."""
DOTS_PER_INCH: Final = 150
MOST_PIXELS: Final = 1_568
"""The longer side of a page's picture. Larger ones are made smaller by the models that read them."""
MOST_PICTURE_BYTES: Final = 3_500_000
"""Bedrock takes pictures of 3.75 MB."""


def read_pdf(request: Request, builder: Builder) -> None:
    """Each page's text."""
    with closing(_opened(request.path)) as document:
        builder.title = document.get_metadata_dict().get("Title", "")
        count = len(document)
        builder.missing = "this PDF has no pages."
        for index in range(min(count, request.most_pages)):
            text = _text(document, index)
            if not text:
                builder.empty_pages.append(index + 1)
                continue
            builder.begin(index + 1)
            builder.add(text)
        if builder.empty_pages:
            empty = len(builder.empty_pages)
            hold = f"{empty:,} pages hold no text" if empty > 1 else without_text(builder.empty_pages)
            builder.missing = f"{hold}; choose a parsing model."
        if count > request.most_pages:
            builder.notes.append(f"only the first {request.most_pages:,} of {count:,} pages were read")


def draw(request: Request) -> Iterator[tuple[int, bytes]]:
    """Pages as PNG, with their numbers. Of blank pages, and of those that cannot be drawn, there is an empty one."""
    with closing(_opened(request.path)) as document:
        for number in request.drawn_pages:
            if 1 <= number <= len(document):
                yield number, _picture(document, number - 1) or b""


def _opened(path: str) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if error.err_code == raw.FPDF_ERR_PASSWORD:
            raise Unreadable("this file needs a password.") from error
        if error.err_code == raw.FPDF_ERR_SECURITY:
            raise Unreadable("this file is encrypted in a way that cannot be read.") from error
        raise Unreadable("this file is damaged.") from error


def _text(document: pypdfium2.PdfDocument, index: int) -> str:
    """A page's text, or nothing if it has none, or is a scan, or is damaged."""
    try:
        with closing(document[index]) as page, closing(page.get_textpage()) as content:
            text = joined_lines(clean(_without_hyphens(content.get_text_range())))
            visible = len("".join(text.split()))
            if visible < FEW_CHARACTERS and (visible < 3 or _has_picture(page)):
                return ""
            return text
    except pypdfium2.PdfiumError:
        return ""


def _without_hyphens(text: str) -> str:
    """PDFium marks the hyphen at a line's end, which parts a word, by a character of its own."""
    for mark in ("\x02", "\ufffe"):
        text = text.replace(f"{mark}\r\n", "").replace(mark, "")
    return text


def _has_picture(page: pypdfium2.PdfPage) -> bool:
    return next(page.get_objects(filter=[raw.FPDF_PAGEOBJ_IMAGE], max_depth=2), None) is not None


def _picture(document: pypdfium2.PdfDocument, index: int) -> bytes | None:
    try:
        with closing(document[index]) as page:
            longer = max(page.get_size())
            if longer <= 0:
                return None
            with closing(page.render(scale=min(DOTS_PER_INCH / 72, MOST_PIXELS / longer))) as bitmap:
                image = bitmap.to_pil()
                image.thumbnail((MOST_PIXELS, MOST_PIXELS))
                if all(low == high for low, high in image.convert("RGB").getextrema()):
                    return None  # of one colour: there is nothing to be read
                for form in (image.convert("RGB"), image.convert("L")):
                    file = io.BytesIO()
                    form.save(file, "PNG")
                    if file.tell() <= MOST_PICTURE_BYTES:
                        return file.getvalue()
    except pypdfium2.PdfiumError:
        return None
    return None
