"""A migrated database that is made once for a whole run of tests, and copied: to migrate takes five seconds of CPU.

`tests.run` has `python -m tests.templates` make it while pytest collects, in the folder that TEST_TEMPLATES names.
Without that variable, each process migrates its own databases.
"""

import os
import shutil
import subprocess
import sys
import time
import uuid
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

FOLDER = os.environ.get("TEST_TEMPLATES", "")
FILE = "template.sqlite3"
READY = "ready"
"""The file that says that the template is made: its content is the database's name on PostgreSQL, and FILE on SQLite.
It is empty where the template could not be made.
"""
PATIENCE_SECONDS = 180.0


@lru_cache(maxsize=1)
def name() -> str:
    """The template's name, for which this waits; empty where there is none."""
    if not FOLDER:
        return ""
    ready = Path(FOLDER) / READY
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not ready.exists():
        if time.monotonic() > deadline:
            return ""
        time.sleep(0.05)
    return ready.read_text()


def file() -> Path | None:
    """The template of a run on SQLite."""
    return Path(FOLDER) / FILE if name() == FILE else None


def postgresql() -> str:
    """The template's name of a run on PostgreSQL."""
    return "" if name() == FILE else name()


def as_owner(url: str, *statements: str) -> None:
    """Runs statements about whole databases, from outside of them."""
    with psycopg.connect(url, dbname="postgres", autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def copy_to(database: str) -> bool:
    """Makes the database of this process's tests, a path or a name, unless there is no template."""
    if source := file():
        remove(database)  # with the log that a run may have left which was killed: it would be read into the copy
        shutil.copyfile(source, database)
    elif source_name := postgresql():
        url = os.environ["DATABASE_URL"]
        drop = f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)'
        as_owner(url, drop, f'CREATE DATABASE "{database}" TEMPLATE {source_name}')
    else:
        return False
    return True


def remove(database: str) -> None:
    """Deletes what `copy_to` made."""
    if file():
        for ending in ("", "-wal", "-shm"):
            Path(f"{database}{ending}").unlink(missing_ok=True)
    else:
        as_owner(os.environ["DATABASE_URL"], f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def make() -> None:
    """Migrates a new database on the server of DATABASE_URL, or a SQLite file, and says that it is ready."""
    made = f"template_{uuid.uuid4().hex[:12]}" if (url := os.environ.get("DATABASE_URL", "")) else FILE
    own_url = f"sqlite:///{FOLDER}/{FILE}"
    if url:
        as_owner(url, f"CREATE DATABASE {made}")
        own_url = urlsplit(url)._replace(path=f"/{made}").geturl()
    environment = {**os.environ, "DATA_DIR": FOLDER, "DATABASE_URL": own_url}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    status = subprocess.run(command, env=environment, check=False).returncode
    half = Path(FOLDER) / "half"
    half.write_text("" if status else made)
    half.rename(Path(FOLDER) / READY)


def drop(url: str, folder: str) -> None:
    """Drops the template of a run on PostgreSQL that is over."""
    made = (Path(folder) / READY).read_text()
    if url and made:
        as_owner(url, f"DROP DATABASE {made}")


if __name__ == "__main__":
    make()
