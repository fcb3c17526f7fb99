"""LiteLLM's proxy, an installed one, between the load and the static Bedrock: no database, one master key."""

import contextlib
import json
import os
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.processes import SERVER_CORE, cpu_seconds
from tests.bench.subjects import Sample

KEY = "sk-bench"
START_SECONDS = 120
BODY = json.dumps({"model": "claude", "messages": [{"role": "user", "content": "message"}]}).encode()


class Proxy:
    """A proxy that answers chat completions."""

    def __init__(self, url: str, pid: int) -> None:
        self._url, self._pid = url, pid

    def sample(self, connections: int, requests: int) -> Sample:
        """Chat completions that are not streamed."""
        sizes = [0]
        before, started = cpu_seconds(self._pid), time.perf_counter()
        send = lambda c, _: sizes.append(c.request("POST", "/v1/chat/completions", BODY, KEY))  # noqa: E731
        latencies = load.run(self._url, connections, requests, send)
        cpu, seconds = cpu_seconds(self._pid) - before, time.perf_counter() - started
        return Sample(cpu / requests * 1000, latencies, sizes[-1], seconds)


@contextlib.contextmanager
def running(executable: str, bedrock: str) -> Iterator[Proxy]:
    """The proxy on the server's core, warm. Raises RuntimeError if it does not start."""
    settings: dict[str, Any] = {
        "model": "bedrock/converse/us.anthropic.claude-3-7-sonnet-20250219-v1:0",
        "aws_access_key_id": "x",
        "aws_secret_access_key": "x",
        "aws_region_name": "us-east-1",
        "aws_bedrock_runtime_endpoint": bedrock,
    }
    config = {
        "model_list": [{"model_name": "claude", "litellm_params": settings}],
        "general_settings": {"master_key": KEY},
    }
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-litellm-") as folder:
        file = Path(folder) / "config.yaml"
        file.write_text(json.dumps(config))  # JSON is YAML
        command: Any = [executable, "--config", str(file), "--host", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            os.sched_setaffinity(process.pid, SERVER_CORE)
            url = f"http://127.0.0.1:{port}"
            _wait(process, url)
            proxy = Proxy(url, process.pid)
            proxy.sample(4, 40)
            yield proxy
        finally:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/health/liveliness", timeout=5).read()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise RuntimeError("LiteLLM's proxy did not start")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
