"""The libraries that the chat page ships: `python -m tests.libraries` fetches what `libraries.json` pins.

`--update` pins the newest releases instead and prints what has changed: then look at the page, and run its tests. npm
fetches the packages. Each one's digest is compared with the pinned one, so nothing that was replaced gets in.
"""

import argparse
import base64
import hashlib
import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "conversations/static/conversations/chat/libraries"
MANIFEST = FOLDER / "libraries.json"
OLD_FORMATS = re.compile(r', ?url\(fonts/[\w-]+\.(?:woff|ttf)\) format\("(?:woff|truetype)"\)')
"""The formats of fonts for browsers that cannot run the page."""


def read() -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(MANIFEST.read_text())
    return manifest


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def shipped(name: str, content: bytes) -> bytes:
    """A file as it is shipped: a style sheet names only the fonts that are there."""
    return OLD_FORMATS.sub("", content.decode()).encode() if name.endswith(".css") else content


def fetch(package: str, version: str) -> tuple[str, dict[str, bytes]]:
    """The digest of a package, and its files by their paths in it."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", f"{package}@{version}", "--json", "--pack-destination", folder]
        subprocess.run(command, capture_output=True, check=True)
        (packed,) = Path(folder).iterdir()
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
        with tarfile.open(packed) as archive:
            members = [(member, archive.extractfile(member)) for member in archive.getmembers() if member.isfile()]
            return integrity, {
                member.name.partition("/")[2]: file.read() for member, file in members if file is not None
            }


def write(package: str, pinned: dict[str, Any], *, update: bool) -> None:
    version = pinned.get("range", "latest") if update else pinned["version"]
    integrity, files = fetch(package, version)
    about = json.loads(files["package.json"])
    if not update and integrity != pinned["integrity"]:
        raise SystemExit(f"{package} {version} is another package than the one that was pinned.")
    if update and about["version"] != pinned["version"]:
        print(f"{package}: {pinned['version']} -> {about['version']} ({about['license']})")
    pinned |= {"version": about["version"], "license": about["license"], "integrity": integrity}
    for name, file in pinned["files"].items():
        content = shipped(name, files[file["from"]])
        if not update and digest(content) != file["sha256"]:
            raise SystemExit(f"{name} is not the file that was pinned.")
        file["sha256"] = digest(content)
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--update", action="store_true", help="pin the newest releases")
    update = parser.parse_args().update
    manifest = read()
    for package, pinned in manifest["packages"].items():
        write(package, pinned, update=update)
    MANIFEST.write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
