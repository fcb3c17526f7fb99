"""Two web processes and two workers on one database. Any of them can be killed and is then started again."""

import os
import random
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).resolve().parent.parent.parent
LEASE_SECONDS = 3
GRACE_SECONDS = 20


class Deployment:
    """The processes, and the folder that holds their data and their log. A context manager starts and ends them."""

    def __init__(self, database_url: str, folder: Path, bedrock_url: str) -> None:
        removed = ("DATABASE_URL", "SECRET_KEY", "COGNITO_USER_POOL_ID", "REDIS_URL")
        kept = {name: value for name, value in os.environ.items() if name not in removed}
        self.folder = folder
        self.environment = {
            **kept,
            "DEBUG": "true",
            "LOG_FORMAT": "json",
            "DATABASE_URL": database_url,
            "DATA_DIR": str(folder / "data"),
            "AWS_ENDPOINT_URL_BEDROCK_RUNTIME": bedrock_url,
            "TURN_LEASE_SECONDS": str(LEASE_SECONDS),
            "JOB_LEASE_SECONDS": str(LEASE_SECONDS),
            "BLOB_GRACE_SECONDS": str(GRACE_SECONDS),
            "CHECKPOINT_SECONDS": "0.5",
        }
        self._commands = {f"web {n}": ["serve", "--port", str(_free_port())] for n in range(2)}
        self._commands |= {f"worker {n}": ["run_worker"] for n in range(2)}
        self.urls = [f"http://127.0.0.1:{self._commands[f'web {n}'][-1]}" for n in range(2)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._log: IO[bytes]

    def manage(self, *arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def issue_token(self, name: str) -> str:
        return self.manage("issue_token", name)

    def start(self, name: str) -> None:
        command = [sys.executable, "manage.py", *self._commands[name]]
        self._processes[name] = subprocess.Popen(
            command, cwd=ROOT, env=self.environment, stdout=subprocess.DEVNULL, stderr=self._log
        )

    def kill_one(self, chance: random.Random) -> str:
        """Kills a process at random with SIGKILL, and starts it again."""
        name = chance.choice(list(self._processes))
        process = self._processes[name]
        process.kill()
        process.wait()
        self.start(name)
        return name.split()[0]

    def __enter__(self) -> Self:
        (self.folder / "data").mkdir()
        self._log = (self.folder / "soak.log").open("ab")
        self.manage("migrate", "--verbosity", "0")
        for name in self._commands:
            self.start(name)
        for url in self.urls:
            while True:
                with suppress(OSError):
                    urllib.request.urlopen(f"{url}/health", timeout=2).read()
                    break
                time.sleep(0.1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.kill()
            process.wait()
        self._log.close()

    @property
    def log(self) -> Path:
        return self.folder / "soak.log"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
