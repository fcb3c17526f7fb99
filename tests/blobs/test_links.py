"""Addresses of files: signed, of limited life, impossible to guess, and served so that nothing in a file runs."""

from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.test import Client

from bedrock_chat.blobs import links, local_storage, storing
from bedrock_chat.blobs.links import Holder
from bedrock_chat.blobs.models import BlobReference
from tests import build

pytestmark = [pytest.mark.django_db, pytest.mark.both]

BODY = b"\x89PNG some bytes" * 100_000


@pytest.fixture
def sha256() -> str:
    """A stored blob that somebody owns."""
    digest = storing.digest(BODY)
    storing.store({digest: BODY})
    storing.refer("conversation", 1, [digest])
    return digest


def address(
    sha256: str, content_type: str = "image/png", file_name: str = "image.png", holder: Holder | None = None
) -> str:
    """Path and query of an address."""
    parts = urlsplit(links.url(sha256, None, content_type=content_type, file_name=file_name, holder=holder))
    return f"{parts.path}?{parts.query}"


def changed(sha256: str, **fields: str | None) -> str:
    """An address with parts of its query changed, or left out."""
    path, _, query = address(sha256).partition("?")
    return f"{path}?{urlencode({name: value for name, value in (dict(parse_qsl(query)) | fields).items() if value})}"


def test_it_serves_the_file_to_whoever_holds_it(sha256: str, client: Client) -> None:
    response = client.get(address(sha256))
    assert response.status_code == 200
    assert response.getvalue() == BODY
    assert response["Content-Type"] == "image/png"
    assert response["Content-Length"] == str(len(BODY))
    assert response["Content-Disposition"] == 'inline; filename="image.png"'


def test_nothing_in_a_file_runs_and_nothing_is_guessed(sha256: str, client: Client) -> None:
    response = client.get(address(sha256, "text/html", "page.html"))
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert response["Content-Disposition"] == 'attachment; filename="page.html"'
    assert response["X-Frame-Options"] == "DENY"


def test_a_browser_may_keep_it_as_long_as_the_address_holds(sha256: str, client: Client, settings: Any) -> None:
    settings.BLOB_URL_SECONDS = 1000
    directives = dict(part.partition("=")[::2] for part in client.get(address(sha256))["Cache-Control"].split(", "))
    assert directives.keys() == {"private", "max-age", "immutable"}
    assert 748 <= int(directives["max-age"]) <= 1000


def test_it_is_an_absolute_address_of_this_server(sha256: str, settings: Any) -> None:
    settings.PUBLIC_BASE_URL = "https://chat.example.com/api"
    link = links.url(sha256, None, content_type="image/png", file_name="image.png")
    assert link.startswith(f"https://chat.example.com/api/blobs/{sha256}?")


@pytest.mark.parametrize("life", [1, 2, 10, 3600])
def test_it_holds_for_three_quarters_of_its_life_at_least_and_no_longer_than_it(
    sha256: str, client: Client, settings: Any, monkeypatch: pytest.MonkeyPatch, life: int
) -> None:
    settings.BLOB_URL_SECONDS = life
    for begun in (1_800_000_000.0, 1_800_000_000.9, 1_800_001_234.5):
        monkeypatch.setattr(links.time, "time", lambda begun=begun: begun)
        link = address(sha256)
        monkeypatch.setattr(links.time, "time", lambda begun=begun: begun + 0.75 * life - 1)
        assert client.get(link).status_code == 200
        monkeypatch.setattr(links.time, "time", lambda begun=begun: begun + life)
        response = client.get(link)
        assert (response.status_code, response.json()["detail"].startswith("This address has expired")) == (403, True)


def test_the_same_file_has_the_same_address_for_a_while(sha256: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links.time, "time", lambda: 1_800_000_000.0)
    first = address(sha256)
    monkeypatch.setattr(links.time, "time", lambda: 1_800_000_899.0)
    assert address(sha256) == first
    monkeypatch.setattr(links.time, "time", lambda: 1_800_000_900.0)
    assert address(sha256) != first


@pytest.mark.parametrize(
    "fields",
    [
        {"signature": None},
        {"signature": "x"},
        {"signature": "ü" * 43},
        {"signature": "A" * 43},
        {"until": None},
        {"until": "9" * 11},
        {"until": "9" * 5000},
        {"until": "-1"},
        {"until": "٣"},
        {"until": "soon"},
        {"type": "text/html"},
        {"type": None},
        {"name": "other.png"},
        {"name": None},
        {"holder": "document-1"},
    ],
)
def test_whoever_changes_it_gets_nothing(sha256: str, client: Client, fields: dict[str, str | None]) -> None:
    response = client.get(changed(sha256, **fields))
    assert response.status_code == 403
    assert response["Content-Type"] == "application/json"


def test_the_signature_of_one_file_opens_no_other(sha256: str, client: Client) -> None:
    other_sha256 = storing.digest(b"somebody else's")
    storing.store({other_sha256: b"somebody else's"})
    storing.refer("conversation", 2, [other_sha256])
    assert client.get(address(sha256).replace(sha256, other_sha256)).status_code == 403
    assert client.get(f"/blobs/{other_sha256}").status_code == 403
    for path in ("../../etc/passwd", "%2e%2e%2fsecret", "x"):
        assert client.get(f"/blobs/{path}").status_code in (403, 404)


def test_another_servers_signature_opens_nothing(sha256: str, client: Client, settings: Any) -> None:
    link = address(sha256)
    settings.SECRET_KEY = "another"
    assert client.get(link).status_code == 403


def test_it_ends_with_the_last_owner_of_the_file(sha256: str, client: Client) -> None:
    link = address(sha256)
    storing.refer("conversation", 2, [sha256])
    storing.forget("conversation", [1])
    assert client.get(link).status_code == 200
    storing.forget("conversation", [2])
    assert BlobReference.objects.count() == 0
    assert client.get(link).status_code == 404


def test_one_that_names_a_holder_ends_with_it_though_others_keep_the_bytes(
    sha256: str, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = {(7, sha256)}
    monkeypatch.setitem(links._checks, "shelf", lambda number, digest: (number, digest) in holders)
    link = address(sha256, holder=Holder("shelf", 7))
    assert client.get(link).status_code == 200
    for other in ("holder=shelf-8", "holder=", "other=shelf-7"):  # it is signed with the rest
        assert client.get(link.replace("holder=shelf-7", other)).status_code == 403
    holders.clear()
    assert client.get(link).status_code == 404
    assert client.get(address(sha256)).status_code == 200
    assert client.get(address(sha256, holder=Holder("of another version", 7))).status_code == 404


def test_a_file_that_is_lost_is_a_404(sha256: str, client: Client) -> None:
    build.lose(sha256)
    assert client.get(address(sha256)).status_code == 404


@pytest.mark.parametrize(
    ("name", "disposition"),
    [
        ("report.pdf", 'filename="report.pdf"'),
        ('a "quoted" name.pdf', 'filename="a \\"quoted\\" name.pdf"'),
        ("../../etc/passwd", 'filename=".. .. etc passwd"'),
        ("a\r\nSet-Cookie: x=y\n", 'filename="a Set-Cookie: x=y"'),
        ("Bericht über 🦄.pdf", "filename*=utf-8''Bericht%20%C3%BCber%20%F0%9F%A6%84.pdf"),
        (" \t", 'filename="file"'),
    ],
)
def test_a_files_name_cannot_break_out_of_its_header(sha256: str, client: Client, name: str, disposition: str) -> None:
    response = client.get(address(sha256, "application/pdf", name))
    assert (response.status_code, response["Content-Disposition"]) == (200, f"attachment; {disposition}")


def test_a_long_name_is_shortened_and_keeps_its_ending(sha256: str, client: Client) -> None:
    link = address(sha256, "application/pdf", "x" * 100_000 + ".pdf")
    assert len(link) < 1_000
    assert client.get(link)["Content-Disposition"].endswith(".pdf")


def test_a_storage_that_signs_addresses_is_asked_instead(sha256: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def signed_url(self: Any, name: str, *, seconds: int, content_type: str, content_disposition: str) -> str:
        return f"https://bucket.example.com/{name}?{seconds}&{content_type}&{content_disposition}"

    monkeypatch.setattr(local_storage.LocalFiles, "signed_url", signed_url, raising=False)
    name = build.file_of(sha256)
    assert links.url(sha256, name, content_type="text/html", file_name="a.html") == (
        f'https://bucket.example.com/{name}?3600&text/html&attachment; filename="a.html"'
    )


def test_head_tells_the_length_alone(sha256: str, client: Client) -> None:
    response = client.head(address(sha256))
    assert (response.status_code, response["Content-Length"]) == (200, str(len(BODY)))


def test_it_asks_the_database_once(sha256: str, client: Client, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(1):
        assert client.get(address(sha256)).status_code == 200
