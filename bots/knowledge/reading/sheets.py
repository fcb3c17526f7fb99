"""Sheets of Excel and OpenDocument: a page per sheet, a line per row."""

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Any

from bots.knowledge.reading.building import Builder
from bots.knowledge.reading.pages import OtherEngine, Unreadable
from bots.knowledge.reading.requests import SECOND_ENGINE, Request
from bots.knowledge.reading.rows import add_rows


def read_sheets(request: Request, builder: Builder) -> None:
    """A page per sheet that holds anything, by calamine or, where that fails, by openpyxl."""
    if request.engine == SECOND_ENGINE:
        from bots.knowledge.reading import cell_by_cell  # noqa: PLC0415 - each library is loaded for its own documents

        sheets = cell_by_cell.sheets(request.path)
    else:
        sheets = _by_calamine(request, builder)
    for name, rows in sheets:
        builder.begin(name=name)
        add_rows(builder, ([_written(cell) for cell in row] for row in rows))


def _by_calamine(request: Request, builder: Builder) -> Iterator[tuple[str, Iterable[Iterable[Any]]]]:
    """Each sheet's name and rows. Raises OtherEngine where another one may read more, and Unreadable."""
    import python_calamine  # noqa: PLC0415 - each library is loaded for its own documents

    try:
        workbook = python_calamine.load_workbook(request.path)
        for name in workbook.sheet_names:
            yield name, _whole_rows(workbook.get_sheet_by_name(name).iter_rows(), request, builder)
    except python_calamine.PasswordError as error:
        raise Unreadable("this file needs a password.") from error
    except python_calamine.CalamineError as error:
        if request.kind == "xlsx":
            raise OtherEngine from error
        raise Unreadable("this file is damaged.") from error


def _whole_rows(rows: Iterable[Iterable[Any]], request: Request, builder: Builder) -> Iterator[Iterable[Any]]:
    """The rows without those that hold a date or a time beyond all bounds: the library gives rows as a whole.

    Of a type that another engine reads, such a row raises OtherEngine.
    """
    iterator = iter(rows)
    while True:
        try:
            row = next(iterator)
        except StopIteration:
            return
        except BaseException as error:
            is_of_a_cell = isinstance(error, OverflowError) or type(error).__name__ == "PanicException"
            if not is_of_a_cell:
                raise
            if request.kind == "xlsx":
                raise OtherEngine from error
            if _LEFT_OUT not in builder.notes:
                builder.notes.append(_LEFT_OUT)
            continue
        yield row


_LEFT_OUT = "rows with a date or a time that cannot be read were left out"


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
