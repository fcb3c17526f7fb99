"""The whole server as a process of its own, on a database of its own."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg

from tests import templates
from tests.forking import client as forking

_migrated: set[str] = set()
"""Databases that have their tables: path or URL."""
_template: list[Path] = []
_postgresql_template: list[str] = []
"""The first database that was migrated, as it was then: a SQLite file, or a name. To copy it takes seconds of CPU less
than to migrate another.
"""

ROOT = Path(__file__).resolve().parent.parent


class LiveServer:
    """`manage.py serve` on a free port, with SQLite in `data_dir` and Bedrock at `bedrock_url`."""

    def __init__(self, data_dir: Path, bedrock_url: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "SECRET_KEY")}
        self.environment = {
            **kept,
            "DEBUG": "true",
            "DATA_DIR": str(data_dir),
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock_url,
            "PORT": "0",
            **environment,
        }
        self.log = data_dir / "server.log"

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = forking.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True)
        return str(done.stdout).strip()

    def __enter__(self) -> Self:
        self._migrate()
        self._log = self.log.open("w")
        self.process = forking.Popen(
            [sys.executable, "manage.py", "serve"],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert "http://" in line, self.log.read_text()
        self.url = line.split()[-1]
        return self

    def _migrate(self) -> None:
        url = self.environment.get("DATABASE_URL") or f"sqlite:///{self.environment['DATA_DIR']}/bedrock-chat.sqlite3"
        if url in _migrated:
            return
        _migrated.add(url)
        if url.startswith("sqlite:///"):
            self._migrate_file(Path(url.removeprefix("sqlite:///")))
        else:
            self._migrate_database(url)

    def _migrate_file(self, file: Path) -> None:
        is_new = not file.exists()
        if is_new and (template := templates.file() or next(iter(_template), None)):
            shutil.copyfile(template, file)
            return
        self.manage("migrate", "--verbosity", "0")
        if is_new:
            copy = Path(tempfile.mkdtemp()) / "template.sqlite3"
            atexit.register(shutil.rmtree, copy.parent, ignore_errors=True)
            _template.append(Path(shutil.copyfile(file, copy)))

    def _migrate_database(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            name = connection.info.dbname
            cursor = connection.execute("SELECT NOT EXISTS (SELECT FROM pg_tables WHERE schemaname = 'public')")
            (is_new,) = cursor.fetchone() or (False,)
        is_of_the_run = urlsplit(url).netloc == urlsplit(os.environ.get("DATABASE_URL", "")).netloc
        is_new = is_new and is_of_the_run  # a server that a test has started for itself has no template, and soon ends
        template = templates.postgresql() or next(iter(_postgresql_template), "")
        if is_new and template:
            templates.as_owner(url, f"DROP DATABASE {name}", f"CREATE DATABASE {name} TEMPLATE {template}")
            return
        self.manage("migrate", "--verbosity", "0")
        if is_new:
            template = f"template_{uuid.uuid4().hex[:12]}"
            templates.as_owner(url, f"CREATE DATABASE {template} TEMPLATE {name}")
            atexit.register(templates.as_owner, url, f"DROP DATABASE {template}")
            _postgresql_template.append(template)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()
        self._log.close()

    def call(
        self, method: str, path: str, body: Any = None, *, token: str = "", timeout: float = 30
    ) -> tuple[int, Any]:
        """Status and parsed JSON (or text) of a request."""
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                status, raw = response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                status, raw = error.code, error.read().decode()
        try:
            return status, json.loads(raw)
        except ValueError:
            return status, raw
