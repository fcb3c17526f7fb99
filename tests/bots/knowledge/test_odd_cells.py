"""A cell that cannot be read costs a workbook that cell, or its row, and nothing else."""

import re
import zipfile
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest

from bots.knowledge.reading.pages import Reading
from tests.bots.knowledge import documents
from tests.bots.knowledge.old_excel import Days, xls

Read = Callable[..., Reading]
MAY = date(2024, 5, 3)


def xlsx_with(path: Path, cells: dict[str, tuple[str, str]]) -> None:
    """A workbook whose cells of these names hold what no program would write: a type, and a value as text."""
    rows: list[list[object]] = [["Name", "Day", "Hours"], ["Bolt", MAY, timedelta(hours=2)], ["Nut", MAY, "none"]]
    documents.xlsx(path, {"Stock": rows})
    with zipfile.ZipFile(path) as workbook:
        files = {name: workbook.read(name).decode() for name in workbook.namelist()}
    [sheet] = [name for name in files if name.endswith("sheet1.xml")]
    for name, (kind, value) in cells.items():
        style = r'<c r="' + name + r'"( s="\d+")?[^>]*>.*?</c>'
        files[sheet], number = re.subn(style, rf'<c r="{name}"\1 t="{kind}"><v>{value}</v></c>', files[sheet])
        assert number == 1
    with zipfile.ZipFile(path, "w") as workbook:
        for name, content in files.items():
            workbook.writestr(name, content)


@pytest.mark.parametrize(
    ("cells", "first_row"),
    [
        ({"C2": ("n", "1e12")}, "Name: Bolt; Day: 2024-05-03"),  # a time of so many days
        ({"B2": ("n", "-1e12")}, "Name: Bolt; Hours: 2:00:00"),  # a date that the first engine panics at
        ({"B2": ("d", "2024-99-99"), "C2": ("n", "1e12")}, "Name: Bolt; Day: 2024-99-99"),
        ({"B2": ("n", "1,5")}, "Name: Bolt; Day: 1,5; Hours: 2:00:00"),
        ({"B2": ("b", "si")}, "Name: Bolt; Day: si; Hours: 2:00:00"),
        ({"B2": ("s", "999")}, "Name: Bolt; Hours: 2:00:00"),  # a text that the workbook has not
        ({"B2": ("e", "#NEW!")}, "Name: Bolt; Hours: 2:00:00"),
    ],
)
def test_a_cell_of_excel_that_cannot_be_read_is_left_out_or_read_as_it_is_written(
    read: Read, tmp_path: Path, cells: dict[str, tuple[str, str]], first_row: str
) -> None:
    xlsx_with(tmp_path / "a.xlsx", cells)
    reading = read("a.xlsx")
    assert [page.text for page in reading.pages] == [f"{first_row}\nName: Nut; Day: 2024-05-03; Hours: none"]


@pytest.mark.parametrize("days", [1e12, -1e12])
def test_of_an_old_workbook_the_row_is_left_out_and_the_note_says_so(read: Read, days: float) -> None:
    rows = [["Name", "Hours"], ["Bolt", Days(0.5)], ["Nut", Days(days)], ["Screw", Days(2)]]
    reading = read("a.xls", xls("Stock", rows))
    assert [page.text for page in reading.pages] == ["Name: Bolt; Hours: 12:00:00\nName: Screw; Hours: 2 days, 0:00:00"]
    assert reading.note == "rows with a date or a time that cannot be read were left out."
