"""The import contracts of `make check` find what they forbid: a copy of the code gets a violation of each."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PLANTED = {
    "apps": ("bedrock_chat/logs.py", "import conversations.models"),
    "kernel": ("bedrock_chat/process/limits.py", "import bedrock_chat.identity.users"),
    "conversations": ("conversations/access.py", "import conversations.turn.leases"),
    "transport": ("conversations/turn/asking.py", "import rest_framework.response"),
    "outbound": ("bots/people.py", "import urllib3"),
    "search": ("bedrock_chat/search/fusion.py", "import bedrock_chat.search.passages"),
    "reading": ("bots/knowledge/chunking.py", "import urllib3"),
    "pure": ("conversations/tree.py", "import django.db"),
}
"""Contract → the file that gets an import which the contract forbids, and the import."""


def test_every_room_of_the_kernel_has_its_layer() -> None:
    [layers] = [contract["layers"] for contract in CONTRACTS if contract["id"] == "kernel"]
    rooms = {path.parent.name for path in (ROOT / "bedrock_chat").glob("*/__init__.py")} - {"management", "migrations"}
    assert {room for layer in layers for room in layer.split(" | ")} == rooms


def test_every_contract_is_broken_by_what_it_forbids(tmp_path: Path) -> None:
    assert {contract["id"] for contract in CONTRACTS} == PLANTED.keys()
    for app in ("bedrock_chat", "bots", "store", "conversations", "publication"):
        shutil.copytree(ROOT / app, tmp_path / app, ignore=shutil.ignore_patterns("__pycache__", "static", "templates"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for file, line in PLANTED.values():
        with (tmp_path / file).open("a") as code:
            code.write(f"\n{line}\n")
    # `lint-imports` looks for packages in the folder it is called in.
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    report = " ".join(result.stdout.split())
    assert result.returncode == 1, result.stderr
    for contract in CONTRACTS:
        assert f"{contract['name']} BROKEN" in report
    for file, line in PLANTED.values():
        importer, imported = file.removesuffix(".py").replace("/", "."), line.removeprefix("import ")
        reported = imported if imported.split(".")[0] in ("bedrock_chat", "conversations") else imported.split(".")[0]
        assert f"{importer} -> {reported}" in report
