"""The Bedrock emulator as a process of its own, for tests."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.forking import client as forking

ROOT = Path(__file__).resolve().parent.parent


class Emulator:
    """Starts on entry, on a free port. `url` is its address. It ends with the process that started it."""

    url: str
    process: subprocess.Popen[str]

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "bedrock_chat.bedrock.emulator", "--port", "0", "--exit-with-parent"]
        self.process = forking.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("The Bedrock emulator did not start.")
        self.url = line.split()[-1]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def requests(self) -> list[dict[str, Any]]:
        """Calls to models since the last reset, oldest first: path, operation, model, body, at, status, outcome."""
        logged: list[dict[str, Any]] = self.control("GET", "requests")
        return logged

    def clear_requests(self) -> None:
        self.control("DELETE", "requests")

    def script(self, **fields: Any) -> None:
        """Sets what all later answers do in addition to their markers. With `times=N`, only the next N answers.

        `script(fault="ThrottlingException", times=2)`; `script(wait=0.5, words=20)`. `script()` removes the script.
        """
        self.control("POST", "script", fields)

    def queue(self, *scripts: dict[str, Any]) -> None:
        """Sets one script for each of the next requests. `{}` is an answer as usual."""
        self.control("POST", "script", list(scripts))

    def agents(self, **fields: Any) -> None:
        """Sets what knowledge bases hold and agents answer, and which calls to them fail (`troubles`)."""
        self.control("POST", "agents", fields)

    def embeddings(self, **fields: Any) -> None:
        """Sets how calls for vectors fare: `wait`, `most_tokens`, `troubles`."""
        self.control("POST", "embeddings", fields)

    def embedded(self) -> dict[str, int]:
        """Calls for vectors that were answered since the last reset: `calls`, `texts`, `tokens`, `distinct` texts."""
        served: dict[str, int] = self.control("GET", "embeddings")
        return served

    def reset(self) -> None:
        """Forgets requests, scripts, counters and the prompt cache."""
        self.control("POST", "reset")

    def control(self, method: str, name: str, document: Any = None) -> Any:
        data = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/control/{name}", data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                raise ValueError(json.load(error)["message"]) from None
