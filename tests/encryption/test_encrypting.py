"""A secret comes back as it was, with the right key alone, and whatever is wrong is said without showing anything."""

import logging
from pathlib import Path
from typing import Any

import pytest
from django.db import connection, transaction
from django.urls import path
from hypothesis import HealthCheck, given
from hypothesis import settings as rules
from hypothesis import strategies as st
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.test import APIClient

from bedrock_chat.encryption import encrypting, key_file, keys
from bedrock_chat.encryption.errors import EncryptionError, KeyMissing, NoKey, SecretDamaged
from bedrock_chat.encryption.models import EncryptionKey
from bedrock_chat.identity.models import SigningKey
from bedrock_chat.logs import traceback_text
from bedrock_chat.wire.views import WireViewSet
from tests.encryption.vault import new_key, read, store

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
SECRET = "fc-alices-firecrawl-key"


@rules(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(codec=None)))
def test_any_text_comes_back_as_it_was(settings: Any, text: str) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    with transaction.atomic():
        token = encrypting.encrypt(text)
    assert token.isascii()
    assert encrypting.decrypt(token) == text


def test_nothing_of_a_secret_is_in_the_database_and_equal_secrets_look_different(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    assert store("alice", SECRET) != store("bob", SECRET)
    assert SigningKey.objects.filter(private_key__contains=SECRET[3:]).count() == 0
    assert read("alice") == read("bob") == SECRET


def test_the_first_key_encrypts_and_all_decrypt(settings: Any) -> None:
    old, new = new_key(), new_key()
    settings.ENCRYPTION_KEYS = [old]
    store("alice", SECRET)
    settings.ENCRYPTION_KEYS = [new, old]
    assert read("alice") == SECRET
    store("bob", SECRET)
    settings.ENCRYPTION_KEYS = [new]
    assert read("bob") == SECRET
    with pytest.raises(KeyMissing, match=keys.fingerprint(old)):
        read("alice")


def test_each_key_is_written_down_once_with_its_first_secret(settings: Any) -> None:
    old, new = new_key(), new_key()
    settings.ENCRYPTION_KEYS = [old]
    assert keys.in_use() == []
    store("alice", SECRET)
    store("alice", SECRET)
    assert keys.in_use() == [keys.fingerprint(old)]
    settings.ENCRYPTION_KEYS = [new, old]
    store("bob", SECRET)
    assert keys.in_use() == sorted([keys.fingerprint(old), keys.fingerprint(new)])


def test_a_secret_that_is_not_stored_leaves_no_trace_of_its_key(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    with transaction.atomic():
        encrypting.encrypt(SECRET)
        transaction.set_rollback(True)
    assert keys.in_use() == []


def test_it_is_encrypted_in_the_transaction_that_stores_it_and_nowhere_else(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    with pytest.raises(transaction.TransactionManagementError):
        encrypting.encrypt(SECRET)


def test_a_fingerprint_tells_keys_apart_and_has_nothing_of_them() -> None:
    some = [new_key() for _ in range(50)]
    fingerprints = [keys.fingerprint(key) for key in some]
    assert len(set(fingerprints)) == 50
    assert fingerprints == [keys.fingerprint(key) for key in some]
    import base64

    for key, fingerprint in zip(some, fingerprints, strict=True):
        assert fingerprint not in key
        assert fingerprint not in base64.urlsafe_b64decode(key).hex()


@pytest.mark.parametrize("cut", [0, 5, 17, 60, -1])
def test_a_damaged_secret_is_never_taken_for_one(settings: Any, cut: int) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    token = store("alice", SECRET)
    with pytest.raises(SecretDamaged):
        encrypting.decrypt(token[:cut])
    flipped = token[:40] + ("A" if token[40] != "A" else "B") + token[41:]
    with pytest.raises(SecretDamaged):
        encrypting.decrypt(flipped)


def test_a_text_that_was_never_encrypted_is_not_shown_by_the_error(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    with pytest.raises(SecretDamaged) as refusal:
        encrypting.decrypt(SECRET)
    assert SECRET not in str(refusal.value)


def test_without_the_setting_sqlite_has_a_key_of_its_own_and_postgresql_none(tmp_path: Path) -> None:
    if connection.vendor == "sqlite":
        store("alice", SECRET)
        assert read("alice") == SECRET
        assert (tmp_path / "encryption.key").stat().st_mode & 0o777 == 0o600
    else:
        with pytest.raises(NoKey, match="ENCRYPTION_KEYS is not set"):
            store("alice", SECRET)
        assert EncryptionKey.objects.count() == SigningKey.objects.count() == 0
        assert list(tmp_path.iterdir()) == []


def test_postgresql_ignores_a_key_file(settings: Any) -> None:
    key_file.make()
    assert keys.usable() == ([key_file.read()] if connection.vendor == "sqlite" else [])


def test_with_the_setting_the_file_is_neither_made_nor_used(settings: Any, tmp_path: Path) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    store("alice", SECRET)
    assert not (tmp_path / "encryption.key").exists()


def test_a_secret_without_any_key_is_refused_and_kept(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    store("alice", SECRET)
    kept, settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS, []
    with pytest.raises(NoKey):
        read("alice")
    with pytest.raises(EncryptionError):  # on SQLite too: a new key would hide that the old one is missing
        store("bob", SECRET)
    settings.ENCRYPTION_KEYS = kept
    assert read("alice") == SECRET


# ---- What a client sees ---------------------------------------------------------------------------------------------


class Secrets(WireViewSet):
    authentication_classes = ()
    permission_classes = ()

    def create(self, request: Request) -> Response:
        store("alice", SECRET)
        return Response({})

    def retrieve(self, request: Request) -> Response:
        return Response({"secret": read("alice")})


urlpatterns = [path("secret", Secrets.as_view({"post": "create", "get": "retrieve"}))]
handler404 = "bedrock_chat.wire.errors.not_found"


@pytest.mark.urls(__name__)
def test_a_request_that_would_store_a_secret_without_a_key_is_503_and_names_the_setting(settings: Any) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    assert APIClient().post("/secret").status_code == 200
    settings.ENCRYPTION_KEYS = []
    EncryptionKey.objects.all().delete()
    response = APIClient().post("/secret")
    if connection.vendor == "sqlite":
        assert response.status_code == 200
    else:
        assert response.status_code == 503
        assert "ENCRYPTION_KEYS is not set" in response.json()["detail"]
        assert response["Retry-After"]


@pytest.mark.urls(__name__)
def test_a_secret_whose_key_is_missing_is_503_for_clients_and_named_in_the_log(
    settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = new_key(), new_key()
    settings.ENCRYPTION_KEYS = [old]
    store("alice", SECRET)
    settings.ENCRYPTION_KEYS = [new]
    response = APIClient().get("/secret")
    assert response.status_code == 503
    assert keys.fingerprint(old) not in response.content.decode()
    logged = [traceback_text(record.exc_info) for record in caplog.records if record.exc_info]
    assert any(keys.fingerprint(old) in text for text in logged)


@pytest.mark.urls(__name__)
def test_no_log_and_no_answer_shows_a_key_or_a_secret(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    old, new = new_key(), new_key()
    answers = []
    for ring in ([old], [new, old], [new], []):
        settings.ENCRYPTION_KEYS = ring
        token = SigningKey.objects.filter(kid="alice").values_list("private_key", flat=True).first()
        answers += [APIClient().get("/secret"), APIClient().post("/secret")]
        SigningKey.objects.update_or_create(kid="alice", defaults={"private_key": token or ""})
    SigningKey.objects.update(private_key=SECRET)
    settings.ENCRYPTION_KEYS = [new]
    answers.append(APIClient().get("/secret"))
    failed = [answer.content.decode() for answer in answers if answer.status_code != 200]
    assert len(failed) > 3
    texts = [*failed, *(record.getMessage() for record in caplog.records)]
    texts += [traceback_text(record.exc_info) for record in caplog.records if record.exc_info]
    assert len(texts) > 6
    for private in (old, new, SECRET):
        assert [text for text in texts if private in text] == []
