"""No server and no worker starts without the keys of stored secrets; each says in one sentence what is missing."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from rest_framework.test import APIClient

from bedrock_chat import checks, environment
from bedrock_chat.encryption import key_file, keys
from bedrock_chat.encryption.models import EncryptionKey
from bedrock_chat.process import startup
from tests.encryption.vault import begin_anew, new_key, store
from tests.forking import client as forking
from tests.live import LiveServer

ROOT = Path(__file__).resolve().parent.parent.parent
SECRET = "fc-alices-firecrawl-key"
VAULT = "import sys, django; django.setup(); from tests.encryption import vault; "


# ---- The setting ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        ",",
        "secret",
        "A" * 44,
        f"{'A' * 43}=,{'B' * 40}",
        f"{'A' * 42}B=",  # its last bits would be lost
        f"{'A' * 42}+=",
        f"{'A' * 43}=,{'A' * 43}=",
        f"{'A' * 43}=;{'B' * 43}=",
    ],
)
def test_a_wrong_list_of_keys_stops_the_start_and_is_not_shown(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("ENCRYPTION_KEYS", wrong)
    with pytest.raises(ImproperlyConfigured, match="ENCRYPTION_KEYS") as refusal:
        environment.encryption_keys("ENCRYPTION_KEYS")
    parts = [part for part in wrong.split(",") if part]
    assert [part for part in parts if part in str(refusal.value)] == []


def test_keys_are_listed_with_or_without_blanks(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = new_key(), new_key()
    monkeypatch.setenv("ENCRYPTION_KEYS", f" {first} ,\n{second},")
    assert environment.encryption_keys("ENCRYPTION_KEYS") == [first, second]
    monkeypatch.setenv("ENCRYPTION_KEYS", " ")
    assert environment.encryption_keys("ENCRYPTION_KEYS") == []


# ---- Processes ------------------------------------------------------------------------------------------------------


class Deployment:
    """Commands on one database, each with keys of its own."""

    def __init__(self, data: Path, database_url: str) -> None:
        self.data = data
        self.environment = LiveServer(data, "http://127.0.0.1:9", DATABASE_URL=database_url).environment

    def run(self, *arguments: str, keys: str = "") -> subprocess.CompletedProcess[str]:
        return forking.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={**self.environment, "ENCRYPTION_KEYS": keys, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture(scope="module")
def deployment(data: Path, database_url: str) -> Deployment:
    deployment = Deployment(data, database_url)
    assert deployment.run("manage.py", "migrate", "--verbosity", "0").returncode == 0
    return deployment


@pytest.mark.both
@pytest.mark.slow
def test_server_and_worker_name_the_key_that_is_missing_and_start_with_it(deployment: Deployment) -> None:
    old, new = new_key(), new_key()
    assert deployment.run("-c", f"{VAULT} vault.store('alice', '{SECRET}')", keys=old).returncode == 0
    for command, ring, lack in (("serve", new, "lacks the key"), ("run_worker", "", "is not set")):
        done = deployment.run("manage.py", command, keys=ring)
        assert done.returncode == 1
        sentence = done.stderr.strip().splitlines()[-1]
        assert sentence.startswith("Configuration: ENCRYPTION_KEYS")
        assert lack in sentence
        assert keys.fingerprint(old) in sentence
        assert [private for private in (old, new, SECRET) if private in done.stderr + done.stdout] == []
    database = deployment.environment["DATABASE_URL"]
    with LiveServer(deployment.data, "http://127.0.0.1:9", DATABASE_URL=database, ENCRYPTION_KEYS=f"{new},{old}") as it:
        assert it.call("GET", "/ready")[0] == 200
    logged = it.log.read_text()
    assert [private for private in (old, new, SECRET) if private in logged] == []
    checked = deployment.run("manage.py", "check", "--database", "default", keys=new)
    assert keys.fingerprint(old) in checked.stderr
    assert keys.fingerprint(old) not in deployment.run("manage.py", "check", "--database", "default", keys=old).stderr


@pytest.mark.slow
def test_on_sqlite_two_processes_that_store_a_first_secret_at_once_share_a_key(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path, f"sqlite:///{tmp_path / 'own.sqlite3'}")
    assert deployment.run("manage.py", "migrate", "--verbosity", "0").returncode == 0
    environ = {**deployment.environment, "ENCRYPTION_KEYS": "", "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
    names = ("alice", "bob", "carol")
    command = [sys.executable, "-c", f"{VAULT} vault.store(sys.argv[1], 'own')"]
    started = [forking.Popen([*command, name], cwd=ROOT, env=environ) for name in names]
    assert [process.wait(60) for process in started] == [0, 0, 0]
    read = f"{VAULT} print(*(vault.read(name) for name in {names}))"
    assert deployment.run("-c", read).stdout.split() == ["own"] * 3
    (tmp_path / "encryption.key").unlink()
    done = deployment.run("manage.py", "serve")
    assert done.returncode == 1
    assert "encryption.key is not there" in done.stderr
    assert not (tmp_path / "encryption.key").exists()


# ---- In this process ------------------------------------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_start_says_where_a_missing_key_lies(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [key_file.make()]
    store("alice", SECRET)
    begin_anew()
    settings.ENCRYPTION_KEYS = [new_key()]
    with pytest.raises(ImproperlyConfigured, match=r"encryption\.key holds it"):
        startup.refuse_what_lacks()


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_start_without_stored_secrets_needs_no_key_and_loads_nothing(settings: Any) -> None:
    startup.refuse_what_lacks()
    assert key_file.read() is None


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_what_a_start_could_not_tell_is_told_by_readiness(
    settings: Any, caplog: pytest.LogCaptureFixture, django_assert_num_queries: Any
) -> None:
    assert APIClient().get("/ready").status_code == 200
    begin_anew()
    EncryptionKey.objects.create(fingerprint="0123456789abcdef")
    response = APIClient().get("/ready")
    assert response.status_code == 503
    assert response.json()["database"] == "failing"
    assert "0123456789abcdef" not in response.content.decode()
    assert any("0123456789abcdef" in record.getMessage() for record in caplog.records)
    EncryptionKey.objects.all().delete()
    assert APIClient().get("/ready").status_code == 200
    with django_assert_num_queries(0):
        keys.require_for_stored_secrets_once()


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_database_without_the_table_stops_no_start(settings: Any) -> None:
    with connection.schema_editor() as editor:
        editor.delete_model(EncryptionKey)
    try:
        startup.refuse_what_lacks()
        assert checks.stored_secrets_can_be_read(databases=["default"]) == []
    finally:
        with connection.schema_editor() as editor:
            editor.create_model(EncryptionKey)


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_a_deployment_on_postgresql_is_told_that_it_has_no_key(settings: Any) -> None:
    warnings = [message.id for message in checks.secrets_can_be_stored()]
    assert warnings == ([] if connection.vendor == "sqlite" else ["bedrock_chat.W006"])
    settings.ENCRYPTION_KEYS = [new_key()]
    assert checks.secrets_can_be_stored() == []
