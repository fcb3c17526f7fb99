"""docs/ARCHITECTURE.md names every file of the product, and only files and functions that are there."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator

from tests.test_structure import APPS, ROOT, product

TEXT = (ROOT / "docs" / "ARCHITECTURE.md").read_text()


def drawn() -> Iterator[str]:
    """The paths of the tree: a name a line, its depth by its indentation."""
    tree = TEXT.partition("## The tree")[2].split("```")[1]
    folders: list[str] = []
    for line in filter(None, tree.splitlines()):
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        folders = [*folders[:depth], name.rstrip("/")]
        if name.endswith(".py"):
            yield "/".join(folders)


def defined() -> dict[str, set[str]]:
    """Module, or class → the names that are defined in it, at any level."""
    names: dict[str, set[str]] = defaultdict(set)
    for app in APPS:
        for path in (ROOT / app).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    names[path.stem].add(node.name)
                if isinstance(node, ast.ClassDef):
                    names[node.name] |= {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)}
                    names[node.name] |= {inner.name for inner in node.body if isinstance(inner, ast.AsyncFunctionDef)}
    return names


def test_the_tree_is_the_code() -> None:
    files = {
        str(path.relative_to(ROOT))
        for app in APPS
        for path in (ROOT / app).rglob("*.py")
        if "migrations" not in path.parts and path.name != "__init__.py"
    }
    assert set(drawn()) == files


def test_every_path_that_is_named_is_there() -> None:
    paths = re.findall(r"`([\w.]+(?:/[\w.]+)+/?)`", TEXT)
    assert len(paths) > 60
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_function_that_is_named_is_there() -> None:
    names = defined()
    references = [
        (owner, name) for owner, name in re.findall(r"`(\w+)\.(\w+)`", TEXT) if name not in ("py", "json", "toml")
    ]
    assert len(references) > 30
    assert [f"{owner}.{name}" for owner, name in references if name not in names[owner]] == []


def test_the_index_names_every_module_with_sql_of_its_own() -> None:
    """Those of the database's own folder have it for the others, or set a connection up."""
    [row] = [line for line in TEXT.splitlines() if line.startswith("| hand-written SQL |")]
    named = {path for path in re.findall(r"`([\w/.]+)`", row) if "/database/" not in path}
    written = {
        str(path.relative_to(ROOT))
        for path in product()
        if "cursor.execute(" in path.read_text() and not {"database", "migrations"} & set(path.parts)
    }
    assert named == written


def test_every_link_leads_somewhere() -> None:
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_decisions_have_an_index_of_all_of_them() -> None:
    text = (ROOT / "docs" / "DECISIONS.md").read_text()
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    indexed = re.findall(r"^- \[(.+)\]\(#.+\)", text, re.MULTILINE)
    assert sorted(indexed) == sorted(headings)
