"""Folders of other buckets, which are read and never written: their lists, page by page, and single objects.

The client, its time-outs and its region are those of the storage of files.
"""

import contextlib
import functools
import hashlib
import logging
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import botocore.exceptions
import urllib3.exceptions
from django.conf import settings
from django.utils.http import content_disposition_header

from bedrock_chat.bedrock import clients, faults
from bedrock_chat.blobs import links
from bedrock_chat.blobs.s3_storage import MISSING, PIECE, make_client
from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.resilience.deadlines import hang_up_after
from bedrock_chat.resilience.disk_space import is_of_disk

logger = logging.getLogger(__name__)

OBJECTS_A_PAGE: Final = 1000
ANSWERED: Final = "S3 answered"
"""A refusal begins so, and ends with its code."""
TIMED_OUT: Final = "S3 did not answer in time."
UNREACHABLE: Final = "S3 cannot be reached."
NO_CREDENTIALS: Final = "This server has no credentials for S3."
NO_BUCKET: Final = "There is no such bucket."


class FolderFault(Exception):
    """Why nothing was read: one sentence, without the bucket and the key. `is_gone`: there is no such object.
    `is_of_storage`: it is about S3, the bucket or this server's access to it, and not about one object.
    """

    def __init__(self, sentence: str, *, is_gone: bool = False, is_of_storage: bool = False) -> None:
        self.sentence, self.is_gone, self.is_of_storage = sentence, is_gone, is_of_storage
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Entry:
    """An object in a bucket's list."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Page:
    """Up to a thousand objects in the order of their keys. `after` is where the next page begins; None at the end."""

    entries: tuple[Entry, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class ReadObject:
    """An object's bytes in a file that the caller deletes. `digest` is their SHA-256. `path` None: it is unchanged."""

    path: Path | None
    size: int = 0
    digest: str = ""
    etag: str = ""
    media_type: str = ""


def page(bucket: str, prefix: str, after: str, *, interruption: Interruption) -> Page:
    """The objects whose keys begin with the prefix and come after a key. Raises FolderFault and Interrupted."""
    client = _client(settings.AWS_REGION, settings.BLOB_TIMEOUT)
    with _call(settings.BLOB_TIMEOUT, interruption):
        listed = client.list_objects_v2(Bucket=bucket, Prefix=prefix, StartAfter=after, MaxKeys=OBJECTS_A_PAGE)
    entries = tuple(Entry(entry["Key"], entry["Size"], entry["ETag"]) for entry in listed.get("Contents", ()))
    return Page(entries, entries[-1].key if listed["IsTruncated"] and entries else None)


def read(
    bucket: str,
    key: str,
    *,
    known_etag: str,
    most_bytes: int,
    too_large: str,
    seconds: float,
    folder: Path,
    interruption: Interruption,
) -> ReadObject:
    """Reads an object into a file, unless it has the known ETag. Raises FolderFault, with the sentence `too_large`
    for more than `most_bytes`, Interrupted, and OSError where the file cannot be written; no file is left then.
    """
    client = _client(settings.AWS_REGION, settings.BLOB_TIMEOUT)
    conditions = {"IfNoneMatch": known_etag} if known_etag else {}
    with _call(seconds, interruption):
        try:
            answer = client.get_object(Bucket=bucket, Key=key, **conditions)
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == HTTPStatus.NOT_MODIFIED:
                return ReadObject(None, etag=known_etag)
            raise
        with contextlib.closing(answer["Body"]):
            if answer["ContentLength"] > most_bytes:
                raise FolderFault(too_large)
            digest, size = hashlib.sha256(), 0
            with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
                path = Path(file.name)
                try:
                    for piece in answer["Body"].iter_chunks(PIECE):
                        digest.update(piece)
                        size += file.write(piece)
                except BaseException:
                    path.unlink(missing_ok=True)
                    raise
    return ReadObject(path, size, digest.hexdigest(), answer["ETag"], answer.get("ContentType", ""))


def signed_url(bucket: str, key: str, *, content_type: str, file_name: str) -> str | None:
    """An address that gives an object to whoever has it, for BLOB_URL_SECONDS. Nothing is sent to the bucket.

    A browser shows what `links.is_shown`, by the type that its name says, and saves all else. None without credentials.
    The first call may ask for them: hold no pooled connection.
    """
    parameters = {
        "Bucket": bucket,
        "Key": key,
        "ResponseContentType": content_type,
        "ResponseContentDisposition": content_disposition_header(not links.is_shown(content_type), file_name),
    }
    client = _client(settings.AWS_REGION, settings.BLOB_TIMEOUT)
    try:
        url: str = client.generate_presigned_url(
            "get_object",
            Params={name: value for name, value in parameters.items() if value},
            ExpiresIn=settings.BLOB_URL_SECONDS,
        )
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        logger.warning("The address of a document in S3 cannot be signed: %s.", type(error).__name__)
        return None
    return url


def forget_client() -> None:
    """The next call makes a client of the present settings."""
    _client.cache_clear()


@functools.cache
def _client(region: str | None, timeout: float) -> Any:
    return make_client(region, timeout)


@contextlib.contextmanager
def _call(seconds: float, interruption: Interruption) -> Iterator[None]:
    """Around one operation, to the last byte of a body. Raises FolderFault and Interrupted."""
    with interruption.inner() as call, hang_up_after(seconds, call.expire), call.of_this_thread():
        try:
            yield
        except (
            botocore.exceptions.BotoCoreError,
            botocore.exceptions.ClientError,
            urllib3.exceptions.HTTPError,
            Interrupted,
            OSError,
        ) as error:
            if call.expired:
                raise FolderFault(TIMED_OUT, is_of_storage=True) from None
            if call.requested:
                raise Interrupted from None
            if is_of_disk(error):  # of this machine, where the object was to be written
                raise
            raise _fault_of(error) from None


def _fault_of(error: Exception) -> FolderFault:
    match error:
        case botocore.exceptions.ClientError():
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code == "NoSuchBucket":
                return FolderFault(NO_BUCKET, is_of_storage=True)
            if code in MISSING:
                return FolderFault("There is no such object any more.", is_gone=True)
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            return FolderFault(f"{ANSWERED} {code or status}.", is_of_storage=True)
        case _ if isinstance(clients.fault_of(error), faults.NoCredentials):
            return FolderFault(NO_CREDENTIALS, is_of_storage=True)
        case botocore.exceptions.ParamValidationError():
            return FolderFault("This is no name of a bucket or an object.")
    return FolderFault(UNREACHABLE, is_of_storage=True)
