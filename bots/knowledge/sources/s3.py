"""Folders in S3. The server reads them with its own credentials, so that operators name those that bots may have."""

import re
from typing import Any, Final

from django.conf import settings

from bedrock_chat.blobs import s3_folders
from bedrock_chat.blobs.s3_folders import FolderFault
from bedrock_chat.outbound.faults import MEGABYTE
from bots.knowledge.reading.kinds import kind_of_name
from bots.knowledge.sources import kinds, uploads
from bots.knowledge.sources.locations import FetchContext, Fetched, Known, Listed, Location, SourceFault
from bots.knowledge.states import Blame

SECONDS: Final = 120.0
"""For one object."""
NOT_ALLOWED: Final = "This bucket is not allowed here."
_PLACE: Final = re.compile(r"s3://([a-z0-9][a-z0-9.-]{0,62})/([^\x00-\x1f\x7f]*)", re.DOTALL)


def is_allowed(url: str) -> bool:
    """Whether operators let bots read an object or a folder, `s3://bucket/…`. Never the bucket with everybody's files.

    A folder of `KNOWLEDGE_S3` allows what lies in it: `wiki/public` does not allow `s3://wiki/public-old/`.
    """
    match = _PLACE.fullmatch(url)
    if match is None or match[1] == settings.BLOB_BUCKET:
        return False
    allowed: tuple[tuple[str, str], ...] = settings.KNOWLEDGE_S3
    return any(match[1] == bucket and match[2].startswith(folder) for bucket, folder in allowed)


def location(url: str, *, etag: str = "", size: int | None = None) -> Location:
    """An object, by its `s3://bucket/key`."""
    return Location("s3", url, kinds.seen(url.rpartition("/")[2]), etag=etag, size=size)


def listed(url: str, rest: dict[str, Any], context: FetchContext) -> Listed:
    """A part of a folder's list, a thousand objects at most. Types that are not read are counted. Raises SourceFault
    and Interrupted.
    """
    bucket, prefix = _parts(url)
    try:
        page = s3_folders.page(bucket, prefix, str(rest.get("after", "")), interruption=context.interruption)
    except FolderFault as fault:
        raise SourceFault(fault.sentence, blame=_blame(fault)) from None
    objects = [entry for entry in page.entries if not entry.key.endswith("/")]
    readable = [
        location(address, etag=entry.etag, size=entry.size)
        for entry in objects
        if kind_of_name(entry.key.rpartition("/")[2]) and _PLACE.fullmatch(address := f"s3://{bucket}/{entry.key}")
    ]
    following = None if page.after is None else {"after": page.after}
    return Listed(tuple(readable), skipped=len(objects) - len(readable), rest=following)


def fetch(location: Location, known: Known, context: FetchContext) -> Fetched:
    """The object's bytes, or that they are the known ones. Raises SourceFault and Interrupted."""
    bucket, key = _parts(location.location)
    kind = kind_of_name(location.name)
    if kind is None:
        raise SourceFault(kinds.refusal_of_name(location.name), is_skipped=True)
    most_bytes = settings.KNOWLEDGE_FILE_MB * MEGABYTE
    if (location.size or 0) > most_bytes:
        raise SourceFault(uploads.too_large())
    if location.etag and location.etag == known.etag:
        return Fetched(location, None, digest=known.digest, etag=known.etag, kind=kind, is_unchanged=True)
    try:
        read = s3_folders.read(
            bucket,
            key,
            known_etag=known.etag,
            most_bytes=most_bytes,
            too_large=uploads.too_large(),
            seconds=SECONDS,
            folder=context.folder,
            interruption=context.interruption,
        )
    except FolderFault as fault:
        raise SourceFault(fault.sentence, blame=_blame(fault), is_gone=fault.is_gone) from None
    is_unchanged = read.path is None or read.digest == known.digest
    if is_unchanged and read.path is not None:
        read.path.unlink(missing_ok=True)
    return Fetched(
        location,
        None if is_unchanged else read.path,
        size=read.size,
        digest=read.digest or known.digest,
        etag=read.etag,
        kind=kind,
        is_unchanged=is_unchanged,
    )


def _parts(url: str) -> tuple[str, str]:
    """Bucket and key. Raises SourceFault for what operators do not allow."""
    match = _PLACE.fullmatch(url)
    if match is None or not is_allowed(url):
        raise SourceFault(NOT_ALLOWED, blame=Blame.OWNER)
    return match[1], match[2]


def _blame(fault: FolderFault) -> Blame:
    """Operators name the buckets (`KNOWLEDGE_S3`), and give the server its credentials."""
    return Blame.OPERATOR if fault.is_of_storage else Blame.SOURCE
