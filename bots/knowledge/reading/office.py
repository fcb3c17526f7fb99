"""Word documents and PowerPoint presentations."""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from bots.knowledge.reading.building import Builder
from bots.knowledge.reading.cleaning import holds_text
from bots.knowledge.reading.requests import Request

MOST_DEPTH: Final = 20
"""How deep tables and groups may be nested; deeper ones are left out."""


# ---- Word -----------------------------------------------------------------------------------------------------------


def read_docx(request: Request, builder: Builder) -> None:
    """Paragraphs, headings and tables, in their order."""
    import docx  # noqa: PLC0415 - each library is loaded for its own documents

    document = docx.Document(request.path)
    builder.title = document.core_properties.title or ""
    builder.begin()
    levels: dict[str, int | None] = {}
    for block in document.iter_inner_content():
        if hasattr(block, "rows"):
            _add_table(builder, block)
            continue
        text = block.text
        if not holds_text(text):
            continue
        style = block.style
        level = None if style is None else levels.setdefault(style.style_id, _heading_level(style.name or ""))
        if level is None:
            builder.add(f"- {text}" if style is not None and (style.name or "").startswith("List") else text)
        else:
            builder.add_heading(text, level)


def _heading_level(style: str) -> int | None:
    """The level of a style of Word's own, whose names are English in every language."""
    name, _, number = style.lower().partition(" ")
    if style == "Title":
        return 1
    return int(number) if name == "heading" and number.isdecimal() and 1 <= int(number) <= 9 else None


def _add_table(builder: Builder, table: Any) -> None:
    separator = "\n\n"
    for row in _rows(table, 0):
        builder.add(row, separator=separator)
        separator = "\n"


def _rows(table: Any, depth: int) -> Iterator[str]:
    """Rows with `|` between their cells. A merged cell counts once, a table in a cell follows its row."""
    if depth >= MOST_DEPTH:
        return
    for row in table.rows:
        seen: set[int] = set()
        texts, inner = [], []
        for cell in row.cells:
            if id(cell._tc) in seen:
                continue
            seen.add(id(cell._tc))
            texts.append(" ".join(cell.text.split()))
            inner += cell.tables
        if any(texts):
            yield " | ".join(texts)
        for table_in_cell in inner:
            yield from _rows(table_in_cell, depth + 1)


# ---- PowerPoint -----------------------------------------------------------------------------------------------------


def read_pptx(request: Request, builder: Builder) -> None:
    """A page per slide: its title, its shapes from top to bottom as they are stored, then its notes."""
    import pptx  # noqa: PLC0415 - each library is loaded for its own documents

    presentation = pptx.Presentation(request.path)
    builder.title = presentation.core_properties.title or ""
    for number, slide in enumerate(presentation.slides, 1):
        builder.begin(number)
        title = slide.shapes.title
        if title is not None:
            builder.add_heading(title.text_frame.text, 1)
        for text in _shape_texts(slide.shapes, 0, without=None if title is None else title.shape_id):
            builder.add(text)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            notes = slide.notes_slide.notes_text_frame.text
            if holds_text(notes):
                builder.add(f"Notes: {notes}")


def _shape_texts(shapes: Iterable[Any], depth: int, *, without: int | None = None) -> Iterator[str]:
    if depth >= MOST_DEPTH:
        return
    for shape in shapes:
        if shape.shape_id == without:
            continue
        if hasattr(shape, "shapes"):
            yield from _shape_texts(shape.shapes, depth + 1)
        elif getattr(shape, "has_table", False) and shape.has_table:
            yield "\n".join(" | ".join(" ".join(cell.text.split()) for cell in row.cells) for row in shape.table.rows)
        elif shape.has_text_frame:
            yield shape.text_frame.text
