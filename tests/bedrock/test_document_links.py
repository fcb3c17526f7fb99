"""A document in S3 gets an address that can be opened for an hour; every other address stays as it is."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import LazySettings

from bedrock_chat.bedrock import document_links


@pytest.fixture
def aws(settings: LazySettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    settings.BEDROCK = "aws"
    settings.BEDROCK_REGION = "eu-central-1"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    document_links._client.cache_clear()
    yield
    document_links._client.cache_clear()


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("key", ["u/b/documents/guide.pdf", "a b/手順?#1.pdf", "100%.pdf"])
def test_an_object_is_signed_for_an_hour(key: str) -> None:
    from urllib.parse import unquote

    parts = urlsplit(document_links.readable(f"s3://doc-bucket/{key}") or "")
    assert (parts.scheme, parts.netloc) == ("https", "doc-bucket.s3.eu-central-1.amazonaws.com")
    assert unquote(parts.path) == f"/{key}"
    query = parse_qs(parts.query)
    assert query["X-Amz-Expires"] == ["3600"]
    assert query["X-Amz-Credential"][0].startswith("AKIDEXAMPLE/")
    assert "secret" not in parts.query


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("link", [None, "", "https://example.com/page", "s3://bucket", "s3:///key", "kb://x"])
def test_other_addresses_stay(link: str | None) -> None:
    assert document_links.readable(link) == link


def test_the_emulator_signs_nothing() -> None:
    assert document_links.readable("s3://doc-bucket/guide.pdf") == "s3://doc-bucket/guide.pdf"
