"""Blobs in an S3 bucket, by boto3 itself: the four things that `blobs` asks of a storage, and URLs that expire."""

import functools
import re
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.config
import botocore.exceptions
from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
AMAZONS_HOST = re.compile(r"s3[.-][a-z0-9-]+\.amazonaws\.com(\.cn)?")


class S3Files(Storage):
    """Objects of a bucket, under a prefix. Credentials, region and endpoint are boto3's own to find
    (`AWS_REGION`, `AWS_ENDPOINT_URL_S3`, a profile, a role).
    """

    def __init__(self, bucket: str, prefix: str = "", region: str | None = None) -> None:
        self._bucket, self._prefix, self._region = bucket, prefix.strip("/"), region

    @functools.cached_property
    def _client(self) -> Any:
        """Made at first use, and thread-safe from then on.

        Left alone, boto3 signs addresses the old way in some regions, and names S3's global host in nearly all: such an
        address is refused or redirected. A host that is not Amazon's is addressed as boto3 and its profile have it, by
        path, since few of those resolve a bucket's name.
        """
        regional: Any = {"us_east_1_regional_endpoint": "regional"}
        config = botocore.config.Config(
            retries={"mode": "standard", "total_max_attempts": 4},
            max_pool_connections=64,
            signature_version="s3v4",
            s3=regional,
        )
        make = functools.partial(boto3.session.Session().client, "s3", region_name=self._region)
        client = make(config=config)
        if AMAZONS_HOST.fullmatch(urlsplit(client.meta.endpoint_url).hostname or ""):
            regional["addressing_style"] = "virtual"
            client = make(config=config.merge(botocore.config.Config(s3=regional)))
        return client

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}" if self._prefix else name}

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: equal names are equal bytes, and of two who save them at once either may have written."""
        return name

    def _open(self, name: str, mode: str = "rb") -> File:
        """Raises FileNotFoundError."""
        try:
            answer = self._client.get_object(**self._key(name))
        except botocore.exceptions.ClientError as error:
            raise _missing(error, name) from None
        return ContentFile(answer["Body"].read())

    def _save(self, name: str, content: File) -> str:
        self._client.put_object(**self._key(name), Body=content.read())
        return name

    def exists(self, name: str) -> bool:
        return self._head(name) is not None

    def size(self, name: str) -> int:
        """Bytes. Raises FileNotFoundError."""
        found = self._head(name)
        if found is None:
            raise FileNotFoundError(name)
        return int(found["ContentLength"])

    def delete(self, name: str) -> None:
        """Deleting what is not there is no error, for S3 either."""
        self._client.delete_object(**self._key(name))

    def _head(self, name: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._client.head_object(**self._key(name))
        except botocore.exceptions.ClientError as error:
            if not isinstance(_missing(error, name), FileNotFoundError):
                raise
            return None
        return found

    def signed_url(self, name: str, *, seconds: int, content_type: str, content_disposition: str | None) -> str:
        """A URL that gives the object to whoever has it, for so long, under these headers."""
        parameters = {**self._key(name), "ResponseContentType": content_type}
        if content_disposition:
            parameters["ResponseContentDisposition"] = content_disposition
        url: str = self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
        return url


def _missing(error: botocore.exceptions.ClientError, name: str) -> Exception:
    """S3's refusal as Python's, where it says that nothing is there."""
    return FileNotFoundError(name) if error.response.get("Error", {}).get("Code") in MISSING else error
