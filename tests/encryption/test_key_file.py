"""The key that SQLite's server makes for itself: whole or not at all, one for all processes, never replaced."""

import json
import os
import sys
from pathlib import Path

import pytest
from django.db import connection

from bedrock_chat.encryption import key_file, keys
from bedrock_chat.encryption.errors import KeyFileUnusable, KeyMissing
from bedrock_chat.environment import is_encryption_key
from tests.encryption.vault import read, store
from tests.forking import client as forking

ROOT = Path(__file__).resolve().parent.parent.parent
ON_SQLITE = [keys.first] if connection.vendor == "sqlite" else []
"""What uses the file there alone."""


def drive(step: str, data_dir: Path) -> list[str | None]:
    """Runs `making_driver`. Returns what it prints."""
    done = forking.run(
        [sys.executable, "-m", "tests.encryption.making_driver", step],
        cwd=ROOT,
        env={
            **os.environ,
            "DEBUG": "true",
            "DATA_DIR": str(data_dir),
            "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    printed: list[str | None] = json.loads(done.stdout)
    return printed


def test_it_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    assert key_file.read() is None
    key = key_file.make()
    assert is_encryption_key(key)
    assert key_file.make() == key_file.read() == key
    assert [path.name for path in tmp_path.iterdir()] == ["encryption.key"]
    assert (tmp_path / "encryption.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_processes_that_make_it_at_once_all_get_the_same_one(tmp_path: Path) -> None:
    for number in range(20):
        folder = tmp_path / str(number)
        folder.mkdir()
    made = drive("together", tmp_path)
    assert len(made) == 20 * 8
    for number in range(20):
        assert set(made[number * 8 : number * 8 + 8]) == {
            (tmp_path / str(number) / "encryption.key").read_text().strip()
        }


def test_a_kill_at_any_step_leaves_a_whole_key_or_none_and_the_next_process_has_one(tmp_path: Path) -> None:
    left = drive("killed", tmp_path)
    assert len(left) > 5
    assert None in left
    assert any(left)
    assert all(key is None or is_encryption_key(key) for key in left)


@pytest.mark.parametrize("content", ["", "x", "A" * 43, "A" * 42 + "B=", f"{'A' * 43}=\n{'B' * 43}=", "\xff" * 44])
def test_a_damaged_file_is_an_error_and_stays_as_it_is(tmp_path: Path, content: str) -> None:
    file = tmp_path / "encryption.key"
    file.write_text(content, encoding="latin-1")
    for use in (key_file.read, key_file.make, *ON_SQLITE):
        with pytest.raises(KeyFileUnusable, match=r"encryption\.key is damaged") as refusal:
            use()
        assert not content.strip() or content not in str(refusal.value).replace("encryption.key", "")
    assert file.read_text(encoding="latin-1") == content


def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "encryption.key").mkdir()
    with pytest.raises(KeyFileUnusable, match=r"encryption\.key cannot be read: Is a directory"):
        key_file.read()


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_setting(tmp_path: Path, settings: object) -> None:
    settings.DATA_DIR = tmp_path / "absent"  # type: ignore[attr-defined]
    with pytest.raises(KeyFileUnusable, match=r"cannot be made: No such file.*set ENCRYPTION_KEYS"):
        key_file.make()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="on PostgreSQL there is no such file")
@pytest.mark.django_db(transaction=True)
def test_a_file_that_is_gone_is_not_replaced_while_secrets_need_it(tmp_path: Path) -> None:
    store("alice", "hers")
    kept = (tmp_path / "encryption.key").rename(tmp_path / "backup")
    with pytest.raises(KeyMissing, match=r"encryption\.key is not there"):
        store("bob", "his")
    assert not (tmp_path / "encryption.key").exists()
    kept.rename(tmp_path / "encryption.key")
    assert read("alice") == "hers"
