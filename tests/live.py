"""The whole server as a process of its own, on a database of its own."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

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
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def __enter__(self) -> Self:
        self.manage("migrate", "--verbosity", "0")
        self._log = self.log.open("w")
        self.process = subprocess.Popen(
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
