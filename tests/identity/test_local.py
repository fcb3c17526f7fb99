"""Local identities: one key, one user per name, and commands for people at a terminal."""

import io
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client

from bedrock_chat.identity import local
from bedrock_chat.identity.models import SigningKey, User
from tests.forking import client as forking
from tests.live import ROOT

pytestmark = pytest.mark.django_db


def issue(*arguments: str) -> dict[str, Any]:
    out = io.StringIO()
    call_command("issue_token", *arguments, stdout=out)
    (line,) = out.getvalue().splitlines()
    claims: dict[str, Any] = jwt.decode(line, options={"verify_signature": False})
    return claims


def test_the_command_prints_a_token_alone() -> None:
    claims = issue("alice", "--group", "Admin", "--group", "PublishAllowed", "--days", "2")
    assert claims["cognito:username"] == "alice"
    assert claims["cognito:groups"] == ["Admin", "PublishAllowed"]
    assert claims["exp"] - claims["iat"] == 2 * 86_400
    assert claims["sub"].startswith("local:")


def test_who_is_given_no_group_has_those_of_the_setting(settings: Any) -> None:
    """So whoever tries the product out can make bots."""
    assert issue("alice")["cognito:groups"] == ["CreatingBotAllowed"]
    settings.LOCAL_GROUPS = ["sales", "research"]
    assert issue("alice")["cognito:groups"] == ["research", "sales"]
    assert issue("alice", "--group", "Admin")["cognito:groups"] == ["Admin"]


def test_a_name_is_the_same_user_every_time() -> None:
    assert issue("alice")["sub"] == issue("alice")["sub"] != issue("bob")["sub"]


@pytest.mark.parametrize(
    "arguments",
    [
        [""],
        ["x" * 257],
        ["a\0b"],
        ["a\ud800"],
        ["alice", "--email", "x" * 321],
        ["alice", "--group", ""],
        ["alice", "--days", "nan"],
        ["alice", "--days", "inf"],
        ["alice", "--days", "0"],
        ["alice", "--days", "1e300"],
    ],
)
def test_words_that_make_no_token_are_refused_in_a_sentence(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        issue(*arguments)
    assert not User.objects.exists()


def test_without_its_tables_the_command_says_what_to_do(tmp_path: Path) -> None:
    environment = {**os.environ, "DEBUG": "true", "DATABASE_URL": f"sqlite:///{tmp_path}/new.sqlite3"}
    command = [sys.executable, "manage.py", "issue_token", "alice"]
    done = forking.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "manage.py migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_keys_can_be_read_and_nothing_else() -> None:
    client = Client(enforce_csrf_checks=True)
    keys = client.get("/.well-known/jwks.json")
    assert keys["Cache-Control"] == "public, max-age=300"
    refused = client.post("/.well-known/jwks.json")
    assert (refused.status_code, refused["Allow"]) == (405, "GET, HEAD, OPTIONS")
    assert refused.json()["errors"] == [refused.json()["detail"]]


def test_it_is_refused_where_local_identities_are_off(settings: Any) -> None:
    settings.LOCAL_IDENTITIES = False
    with pytest.raises(CommandError, match="LOCAL_IDENTITIES"):
        issue("alice")


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_processes_that_start_at_once_make_one_key() -> None:
    def key(_: int) -> str:
        try:
            return local.signing_key().private_key
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(key, range(4)))) == 1
    assert SigningKey.objects.count() == 1


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_tokens_asked_for_at_once_are_of_one_user() -> None:
    start = threading.Barrier(6)

    def user(_: int) -> str:
        start.wait()
        try:
            return local.local_user("alice").pk
        finally:
            connection.close()

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(user, range(6)))) == 1
    assert User.objects.count() == 1


def test_the_operators_password_is_told_once() -> None:
    login, password = local.first_operator()
    assert password
    assert User.objects.get(login=login).check_password(password)
    assert local.first_operator() == (login, None)


def test_seeding_twice_changes_nothing() -> None:
    local.seed()
    users = set(User.objects.values_list("pk", flat=True))
    local.seed()
    assert set(User.objects.values_list("pk", flat=True)) == users


@pytest.mark.both
@pytest.mark.parametrize("broken", [{"is_staff": True}, {"login": ""}])
def test_the_database_refuses_an_operator_without_a_login(broken: dict[str, Any]) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.create(id="x", username="x", **broken)
