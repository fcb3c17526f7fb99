"""Sheets of Excel and OpenDocument: a page per sheet, a line per row."""

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from bots.knowledge.reading.building import Builder
from bots.knowledge.reading.pages import Unreadable
from bots.knowledge.reading.requests import SECOND_ENGINE, Request
from bots.knowledge.reading.rows import add_rows


def read_sheets(request: Request, builder: Builder) -> None:
    """A page per sheet that holds anything, by calamine or, where that died, by openpyxl."""
    sheets = _by_openpyxl(request.path) if request.engine == SECOND_ENGINE else _by_calamine(request.path)
    for name, rows in sheets:
        builder.begin(name=name)
        add_rows(builder, ([_written(cell) for cell in row] for row in rows))


def _by_calamine(path: str) -> Iterator[tuple[str, Iterable[Iterable[Any]]]]:
    import python_calamine  # noqa: PLC0415 - each library is loaded for its own documents

    try:
        workbook = python_calamine.load_workbook(path)
        for name in workbook.sheet_names:
            yield name, workbook.get_sheet_by_name(name).iter_rows()
    except python_calamine.PasswordError as error:
        raise Unreadable("this file needs a password.") from error
    except python_calamine.CalamineError as error:
        raise Unreadable("this file is damaged.") from error


def _by_openpyxl(path: str) -> Iterator[tuple[str, Iterable[Iterable[Any]]]]:
    import openpyxl  # noqa: PLC0415 - each library is loaded for its own documents

    with closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as workbook:
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # what the file says of them may be false
            yield sheet.title, sheet.iter_rows(values_only=True)


def _written(cell: Any) -> str:
    """A cell as people write it. Whole numbers come as fractions, dates with a time of midnight."""
    if cell is None or cell == "":
        return ""
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 1e15 else repr(cell)
    if isinstance(cell, dt.datetime):
        return cell.date().isoformat() if cell.time() == dt.time() else cell.isoformat(" ", "minutes")
    return str(cell)
