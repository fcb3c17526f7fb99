"""Sheets of Excel by the second engine, in which a cell that is written wrongly costs no other one."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

import openpyxl
from openpyxl.worksheet import _read_only
from openpyxl.worksheet._reader import VALUE_TAG, WorkSheetParser


class _Parser(WorkSheetParser):
    """Its own would end the workbook at the first such cell."""

    def parse_cell(self, element: Any) -> dict[str, Any]:
        try:
            cell: dict[str, Any] = super().parse_cell(element)
        except (ValueError, IndexError, OverflowError):
            value = element.find(VALUE_TAG)
            if value is not None and element.get("t") == "s":
                value.text = None  # the number of a text that the workbook has not
            element.set("t", "str")
            cell = super().parse_cell(element)
        if cell["data_type"] == "e":
            cell["value"] = None
        return cell


_read_only.WorkSheetParser = _Parser  # it takes no other


def sheets(path: str) -> Iterator[tuple[str, Iterable[Iterable[Any]]]]:
    """Each sheet's name and rows. What cannot be read as a number or a date is the text that the file has."""
    with closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as workbook:
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # what the file says of them may be false
            yield sheet.title, sheet.iter_rows(values_only=True)
