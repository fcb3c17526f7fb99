"""The shape of the repository: which app may use which, how long a file may get, what is documented."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps

ROOT = Path(__file__).resolve().parent.parent
APPS = ["bedrock_chat", "bots", "store", "conversations", "publication"]
"""From left to right: an app may use those before it."""

VAGUE = {"utils", "util", "helpers", "helper", "common", "services", "service_layer", "core", "misc", "lib", "shared"}
PARTICIPLES = {"told", "found", "asked", "said", "given", "held", "each"}
"""Words that say what was done with something, and not what it is."""
SET_PARTICIPLE = re.compile(rf"\b(?:{'|'.join(PARTICIPLES)})\s*(?:[-+*/%&|^@<>=:,)\]#\\]|in\b|if\b|$)", re.MULTILINE)
"""Such a word before what follows a name that is set. It costs a hundredth of a syntax tree, and prose has few."""
MACHINE_PATHS = re.compile(r"(?<![\w.$}])/(?:work|root|tmp|Users|home/[a-z]\w*)/[\w.-]+")


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        text=True,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def product() -> list[Path]:
    return [path for app in APPS for path in (ROOT / app).rglob("*.py")]


def test_no_foreign_key_points_to_the_right() -> None:
    wrong = [
        f"{model._meta.label}.{field.name} -> {field.related_model._meta.label}"
        for left, app in enumerate(APPS)
        for model in apps.get_app_config(app).get_models(include_auto_created=True)
        for field in model._meta.get_fields()
        if field.is_relation and field.concrete and field.related_model
        if field.related_model._meta.app_label in APPS[left + 1 :]
    ]
    assert wrong == []


def test_no_file_of_the_product_is_longer_than_400_lines() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in product()
        if "migrations" not in path.parts and (lines := len(path.read_text().splitlines())) > 400
    }
    assert long == {}


KERNEL_ROOT = {"settings", "environment", "urls", "views", "apps", "models", "admin", "checks", "logs", "asgi"}
"""Modules that may lie directly in the kernel. Every other one is in a folder, as docs/ARCHITECTURE.md shows."""


def test_nothing_lies_loose_at_the_kernels_root() -> None:
    assert {path.stem for path in (ROOT / "bedrock_chat").glob("*.py")} - {"__init__"} == KERNEL_ROOT


def test_conversations_has_no_more_than_24_rooms() -> None:
    modules = {path.parent if path.name == "__init__.py" else path for path in (ROOT / "conversations").glob("**/*.py")}
    rooms = {path for path in modules if path.parent == ROOT / "conversations"}
    assert len(rooms) <= 24


def test_every_sentence_of_manage_check_has_an_id_of_its_own() -> None:
    """Operators silence checks by their ids."""
    ids = [name for path in product() for name in re.findall(r'\bid="(bedrock_chat\.[EW]\d+)"', path.read_text())]
    assert len(ids) > 10
    assert sorted(ids) == sorted(set(ids))


THEMES = ROOT / "bedrock_chat" / "console" / "templates" / "unfold"
"""Templates that stand in the place of the console's theme have its names."""


def test_no_folder_or_file_has_a_name_that_says_nothing() -> None:
    names = [
        str(path.relative_to(ROOT))
        for path in tracked()
        if not path.is_relative_to(THEMES) and VAGUE & {Path(part).stem for part in path.relative_to(ROOT).parts}
    ]
    assert names == []


def named_in(path: Path) -> Iterator[str]:
    """The names of variables, parameters and attributes that a module sets."""
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield name
            case ast.MatchAs(name=str(name)) | ast.ExceptHandler(name=str(name)):
                yield name


def test_a_variable_is_named_for_what_it_holds() -> None:
    tests = (ROOT / "tests").rglob("*.py")
    paths = [path for path in (*product(), *tests) if SET_PARTICIPLE.search(path.read_text())]
    names = {(str(path.relative_to(ROOT)), name) for path in paths for name in named_in(path)}
    assert {(path, name) for path, name in names if name in PARTICIPLES} == set()


@pytest.mark.parametrize(
    "line",
    [
        *("found = 1", "found: int = 1", "found += 1", "a, found = b", "found, a = b", "[a, found] = b", "(found) = b"),
        *("for found in b: pass", "for a, found in b: pass", "with a as found: pass", "with a as found, b: pass"),
        *("def f(found): pass", "def f(a, found=1): pass", "def f(*found, a): pass", "lambda found: 1", "a.found = 1"),
        *("[found for found in b]", "(found := 1)", "found \\\n = 1", "found = a = 1", "for found in b:\n pass"),
        *("match a:\n case found: pass", "match a:\n case [b, found]: pass", "match a:\n case 1 as found if b: pass"),
        *("try: pass\nexcept E as found: pass", "(\nfound\n) = 1"),
    ],
)
def test_a_participle_that_is_set_is_seen_without_a_syntax_tree(line: str, tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(line)
    assert "found" in set(named_in(path))
    assert SET_PARTICIPLE.search(line)


def test_every_variable_of_the_environment_stands_in_the_readme() -> None:
    settings = (ROOT / "bedrock_chat" / "settings.py").read_text()
    read = set(re.findall(r'\benv\.\w+\(\s*"([A-Z][A-Z0-9_]*)"', settings))
    assert len(read) > 20
    documented = set(re.findall(r"^\| `([A-Z][A-Z0-9_]*)`", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert read - documented == set(), "read by the settings, and not in the README's table"


HTTP_CLIENTS = {"urllib.request", "http.client", "urllib3", "requests", "httpx", "aiohttp", "httpcore", "pycurl"}
"""Import-linter knows a library by its first name alone, which `http.HTTPStatus` and `urllib.parse` have too."""


def imported_by(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield module
                yield from (f"{module}.{alias.name}" for alias in names)


def test_no_app_calls_other_servers_by_itself() -> None:
    """The way out is `bedrock_chat/outbound`, which judges addresses."""
    apps_alone = [path for path in product() if path.relative_to(ROOT).parts[0] != "bedrock_chat"]
    assert {str(path.relative_to(ROOT)) for path in apps_alone if HTTP_CLIENTS & set(imported_by(path))} == set()


def test_the_environment_is_read_in_one_place() -> None:
    allowed = {"bedrock_chat/environment.py", "manage.py"}
    elsewhere = [
        name
        for path in product()
        if (name := str(path.relative_to(ROOT))) not in allowed
        if re.search(r"\bos\.(?:environ(?:\[|\.get\b|\.pop\b)|getenv\b)|from os import", path.read_text())
    ]
    assert elsewhere == []


def test_the_soak_starts() -> None:
    """No other test imports all of it."""
    command = [sys.executable, "-m", "tests.soak", "--help"]
    environment = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


def test_no_tracked_file_names_a_path_of_somebodys_machine() -> None:
    paths = []
    for path in tracked():
        if path == Path(__file__).resolve():
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        paths += [f"{path.relative_to(ROOT)}: {match}" for match in MACHINE_PATHS.findall(text)]
    assert paths == []
