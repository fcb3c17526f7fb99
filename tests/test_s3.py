"""Addresses of files in a bucket are the ones that S3 takes."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bedrock_chat.s3 import S3Files


@pytest.fixture
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")


def signed(bucket: str, region: str) -> Any:
    url = S3Files(bucket, "b", region).signed_url("x", seconds=60, content_type="image/png", content_disposition=None)
    return urlsplit(url)


@pytest.mark.usefixtures("credentials")
@pytest.mark.parametrize("region", ["us-east-1", "us-west-2", "eu-west-1", "eu-central-1", "ap-northeast-1"])
def test_an_address_names_the_buckets_region_and_is_signed_as_every_region_takes_it(region: str) -> None:
    url = signed("files", region)
    assert (url.hostname, url.path) == (f"files.s3.{region}.amazonaws.com", "/b/x")
    query = parse_qs(url.query)
    assert query["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
    assert query["X-Amz-Credential"][0].split("/")[2] == region


@pytest.mark.usefixtures("credentials")
def test_a_bucket_with_a_dot_in_its_name_is_part_of_the_path() -> None:
    url = signed("my.files", "eu-west-1")  # no certificate covers my.files.s3.eu-west-1.amazonaws.com
    assert (url.hostname, url.path) == ("s3.eu-west-1.amazonaws.com", "/my.files/b/x")


@pytest.mark.usefixtures("credentials")
def test_at_another_host_the_bucket_is_part_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio.local:9000")
    url = signed("files", "us-east-1")
    assert (url.netloc, url.path) == ("minio.local:9000", "/files/b/x")
    assert parse_qs(url.query)["X-Amz-Algorithm"] == ["AWS4-HMAC-SHA256"]
