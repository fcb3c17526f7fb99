"""Blobs in an S3 bucket, through boto3: the operations that `blobs` needs of a storage, and URLs that expire."""

import functools
import hashlib
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import botocore.config
import botocore.exceptions
from django.core.files.base import ContentFile, File
from django.core.files.storage import Storage, default_storage

from bedrock_chat.bedrock import clients, connections
from bedrock_chat.bedrock.bounded_calls import CONNECT_SECONDS, PROBE_SECONDS, bounded, in_time
from bedrock_chat.blobs.waiting_files import WaitingFile
from bedrock_chat.resilience.dependencies import Dependency
from bedrock_chat.wire.errors import ServiceUnavailable

MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
REPLACED = frozenset({"412", "PreconditionFailed"})
PIECE = 1024 * 1024
AMAZONS_HOST = re.compile(r"s3[.-][a-z0-9-]+\.amazonaws\.com(\.cn)?")
AT_ONCE = 64  # operations of this process; the others wait, so that a storage that hangs does not hold every thread
QUEUE_SECONDS = 2.0


class StorageUnavailable(ServiceUnavailable):
    default_detail = "The storage of images and documents does not answer; try again."

    def __init__(self) -> None:
        super().__init__(retry_after=5)


def make_client(region: str | None, timeout: float) -> Any:
    """A client of S3 whose calls can be interrupted. `timeout` is for one read, in seconds.

    By default boto3 signs addresses the old way in some regions, and names S3's global host in nearly all. S3 refuses
    or redirects such an address. For a host that is not Amazon's, boto3 and its profile decide, and the bucket is part
    of the path, since few of those hosts resolve a bucket's name.
    """
    regional: Any = {"us_east_1_regional_endpoint": "regional"}
    config = botocore.config.Config(
        retries={"mode": "standard", "total_max_attempts": 3},
        connect_timeout=min(CONNECT_SECONDS, timeout),
        read_timeout=timeout,
        max_pool_connections=AT_ONCE,
        signature_version="s3v4",
        s3=regional,
    )
    make = functools.partial(clients.new_session().client, "s3", region_name=region)
    client = make(config=config)
    if AMAZONS_HOST.fullmatch(urlsplit(client.meta.endpoint_url).hostname or ""):
        regional["addressing_style"] = "virtual"
        client = make(config=config.merge(botocore.config.Config(s3=regional)))
    connections.install(client)
    return client


class S3Files(Storage):
    """Objects of a bucket, under a prefix. boto3 finds credentials, region and endpoint itself
    (`AWS_REGION`, `AWS_ENDPOINT_URL_S3`, a profile, a role).

    An operation takes `timeout` seconds in total, retries and bodies included (a pause between retries, two seconds at
    most, comes on top). One that takes longer, finds nobody or meets a fault of S3's own raises StorageUnavailable.
    After one of the first two, so do all others until S3 answers again.
    """

    def __init__(self, bucket: str, prefix: str = "", region: str | None = None, timeout: float = 15.0) -> None:
        self._bucket, self._prefix, self._region = bucket, prefix.strip("/"), region
        self._timeout = timeout

    @functools.cached_property
    def _client(self) -> Any:
        """Made at first use, and thread-safe from then on."""
        return make_client(self._region, self._timeout)

    def _bounded(self) -> AbstractContextManager[None]:
        """Around each operation, to the last byte of a body."""
        _ = self._client
        return bounded(
            STORAGE,
            seconds=self._timeout,
            places=_places,
            queue_seconds=QUEUE_SECONDS,
            refusal=StorageUnavailable,
        )

    def probe(self) -> None:
        """Asks S3 for a file that does not exist. Raises whatever is wrong."""
        _ = self._client
        with in_time(PROBE_SECONDS, STORAGE):
            self._ask_for_headers("probe")

    def _key(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": f"{self._prefix}/{name}" if self._prefix else name}

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: equal names are equal bytes, so either of two concurrent uploads may write it."""
        return name

    def _open(self, name: str, mode: str = "rb") -> File:
        """Raises FileNotFoundError."""
        with self._bounded():
            try:
                response = self._client.get_object(**self._key(name))
            except botocore.exceptions.ClientError as error:
                raise _translated(error, name) from None
            return ContentFile(response["Body"].read())

    def _save(self, name: str, content: File) -> str:
        with self._bounded():
            self._client.put_object(**self._key(name), Body=content.read())
        return name

    def exists(self, name: str) -> bool:
        return self._head(name) is not None

    def size(self, name: str) -> int:
        """Bytes. Raises FileNotFoundError."""
        headers = self._head(name)
        if headers is None:
            raise FileNotFoundError(name)
        return int(headers["ContentLength"])

    def delete(self, name: str) -> None:
        """Deleting a file that does not exist is no error; nor is it for S3."""
        with self._bounded():
            self._client.delete_object(**self._key(name))

    def _head(self, name: str) -> dict[str, Any] | None:
        with self._bounded():
            return self._ask_for_headers(name)

    def _ask_for_headers(self, name: str) -> dict[str, Any] | None:
        try:
            headers: dict[str, Any] = self._client.head_object(**self._key(name))
        except botocore.exceptions.ClientError as error:
            if not isinstance(_translated(error, name), FileNotFoundError):
                raise
            return None
        return headers

    def signed_url(self, name: str, *, seconds: int, content_type: str, content_disposition: str | None) -> str:
        """A URL that gives the object to whoever has it, for so many seconds, with these headers."""
        parameters = {**self._key(name), "ResponseContentType": content_type}
        if content_disposition:
            parameters["ResponseContentDisposition"] = content_disposition
        url: str = self._client.generate_presigned_url("get_object", Params=parameters, ExpiresIn=seconds)
        return url

    # ---- Files that wait, under names that are used again ----------------------------------------------------------

    def signed_upload(self, name: str, *, seconds: int, content_type: str) -> str:
        """A URL that takes the object from whoever has it, for so many seconds, with this Content-Type if there is one.

        S3 takes any size, and more than one upload: whoever keeps the object looks at its size first.
        """
        parameters = {**self._key(name), **({"ContentType": content_type} if content_type else {})}
        url: str = self._client.generate_presigned_url("put_object", Params=parameters, ExpiresIn=seconds)
        return url

    def look(self, name: str) -> WaitingFile | None:
        """The object as it is now, or None."""
        headers = self._head(name)
        return None if headers is None else WaitingFile(name, int(headers["ContentLength"]), headers["ETag"])

    def look_all(self, prefix: str, names: Iterable[str]) -> dict[str, WaitingFile]:
        """Those of these objects that there are. Their names begin with the prefix: one request finds a thousand."""
        listed = {waiting.name: waiting for waiting, _ in self.waiting(prefix)}
        return {name: listed[name] for name in names if name in listed}

    def sha256(self, waiting: WaitingFile) -> str:
        """Raises FileNotFoundError if it is gone, or was replaced."""
        digest = hashlib.sha256()
        with self._bounded():
            try:
                response = self._client.get_object(**self._key(waiting.name), IfMatch=waiting.tag)
            except botocore.exceptions.ClientError as error:
                raise _translated(error, waiting.name, MISSING | REPLACED) from None
            for piece in response["Body"].iter_chunks(PIECE):
                digest.update(piece)
        return digest.hexdigest()

    def copy(self, waiting: WaitingFile, name: str) -> None:
        """Makes an object of the same bytes, inside S3. Raises FileNotFoundError if it is gone, or was replaced."""
        source = self._key(waiting.name)
        with self._bounded():
            try:
                self._client.copy_object(**self._key(name), CopySource=source, CopySourceIfMatch=waiting.tag)
            except botocore.exceptions.ClientError as error:
                raise _translated(error, waiting.name, MISSING | REPLACED) from None

    def waiting(self, prefix: str) -> Iterator[tuple[WaitingFile, datetime]]:
        """The objects whose names begin so, each with the time of its last upload; a request for every thousand."""
        within = len(self._key("")["Key"])
        page: dict[str, Any] = {"IsTruncated": True}
        while page["IsTruncated"]:
            after = {"ContinuationToken": page["NextContinuationToken"]} if "NextContinuationToken" in page else {}
            with self._bounded():
                page = self._client.list_objects_v2(Bucket=self._bucket, Prefix=self._key(prefix)["Key"], **after)
            for listed in page.get("Contents", ()):
                waiting = WaitingFile(listed["Key"][within:], listed["Size"], listed["ETag"])
                yield waiting, listed["LastModified"]


_places = threading.BoundedSemaphore(AT_ONCE)


def _probe() -> None:
    default_storage.probe()  # type: ignore[attr-defined]  # only S3Files tells that the storage has failed


STORAGE = Dependency("The storage of files", _probe)


def _translated(error: botocore.exceptions.ClientError, name: str, codes: frozenset[str] = MISSING) -> Exception:
    """FileNotFoundError if S3 says that the object does not exist, else the error itself."""
    return FileNotFoundError(name) if error.response.get("Error", {}).get("Code") in codes else error
