"""The libraries that the chat page ships are those that are pinned, and each has its licence beside it."""

import re

from tests.libraries import FOLDER, MANIFEST, digest, read

OURS = {MANIFEST, FOLDER / "licenses" / "katex-fonts.txt"}
PERMISSIVE = {"MIT", "BSD-2-Clause", "BSD-3-Clause"}


def test_every_file_is_the_one_that_is_pinned() -> None:
    pinned = {
        FOLDER / name: file["sha256"]
        for package in read()["packages"].values()
        for name, file in package["files"].items()
    }
    shipped = {path: digest(path.read_bytes()) for path in FOLDER.rglob("*") if path.is_file() and path not in OURS}
    assert shipped == pinned


def test_every_library_comes_with_its_licence() -> None:
    for name, package in read()["packages"].items():
        assert package["license"] in PERMISSIVE, name
        assert re.fullmatch(r"\d+\.\d+\.\d+", package["version"]), name
        assert any(file.startswith("licenses/") for file in package["files"]), name
    assert "SIL OPEN FONT LICENSE" in (FOLDER / "licenses" / "katex-fonts.txt").read_text()


def test_the_style_sheet_names_only_fonts_that_are_there() -> None:
    named = set(re.findall(r"url\(([^)]+)\)", (FOLDER / "katex.css").read_text()))
    assert named == {str(path.relative_to(FOLDER)) for path in (FOLDER / "fonts").iterdir()}
