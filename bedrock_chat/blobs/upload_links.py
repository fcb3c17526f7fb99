"""Addresses that take one upload: whoever has one may put that file there without a token, for an hour.

An address is given out to somebody for their own place. It names where the file shall wait and its content type, and is
signed. A storage that signs itself takes the upload itself (`signed_upload`); otherwise this server does, over the
folder of its storage.
"""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.core import signing
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import IntegrityError, transaction
from django.http import HttpRequest

from bedrock_chat.blobs import storing
from bedrock_chat.blobs.models import UsedUploadLink
from bedrock_chat.blobs.uploads import FOLDER, KEPT, MEGABYTE
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.models import User
from bedrock_chat.metrics import refusals
from bedrock_chat.resilience.disk_space import require_room
from bedrock_chat.wire.errors import BadRequest, Conflict, Forbidden, NotFound, PayloadTooLarge, TooManyRequests

PATH = "/uploads"
SECONDS = 3600
MOST_A_DAY = 1000
SALT = "bedrock_chat.upload_links"


@dataclass(frozen=True, slots=True)
class UploadLink:
    """The contents of an address: itself, whose it is, where in storage the file shall wait, and its content type."""

    id: str
    user_id: str
    name: str
    content_type: str

    @property
    def account(self) -> str:
        return f"user:{self.user_id}"


def url(user_id: str, name: str, content_type: str) -> str:
    """An address that takes this file for an hour. Give it only to that user. An empty content type allows any."""
    if hasattr(default_storage, "signed_upload"):
        storing.let_go_of_database()  # boto3 may have to ask for credentials
        address: str = default_storage.signed_upload(name, seconds=SECONDS, content_type=content_type)
        return address
    signed = signing.dumps([secrets.token_hex(16), user_id, name, content_type], salt=SALT)
    return f"{settings.PUBLIC_BASE_URL}{PATH}?{urlencode({'token': signed})}"


def read(token: str) -> UploadLink:
    """The contents of an address. Raises Forbidden if this server did not sign it, or if it has expired."""
    try:
        return UploadLink(*signing.loads(token, salt=SALT, max_age=SECONDS))
    except signing.SignatureExpired:
        raise Forbidden("This address has expired; ask for a new one.") from None
    except (signing.BadSignature, ValueError):
        raise Forbidden("This address was not given out by this server.") from None


def admit(request: HttpRequest) -> tuple[str, Path]:
    """One of the settings' UPLOADS: before a body is read, whose it is, and the folder to write it into.

    Raises what `take` raises for such an address, and OSError where the disk is full.
    """
    folder = _folder()
    link = read(request.GET.get("token", ""))
    _refuse(link, request.META.get("CONTENT_TYPE", ""), int(request.META.get("CONTENT_LENGTH") or 0))
    if UsedUploadLink.objects.filter(pk=link.id).exists():
        raise _used()
    if not User.objects.filter(pk=link.user_id, is_active=True).exists():
        raise _suspended()
    _refuse_too_many(link)
    require_room(folder)
    return link.account, folder


def take(token: str, content_type: str, content: File, length: int) -> None:
    """Lets a file wait in its owner's place, over an earlier one of the same name. Its address is used up then.

    Raises NotFound where the storage takes uploads itself, Forbidden, BadRequest for another content type than the
    address names, PayloadTooLarge, TooManyRequests, and Conflict if the address was used.
    """
    _folder()
    link = read(token)
    _refuse(link, content_type, length)
    storage: Any = default_storage
    written: Path = storage.put(content, link.name)
    try:
        with transaction.atomic():
            # Whoever is being suspended or erased waits for this lock, and then finds the file.
            active = User.objects.select_for_update(no_key=True).filter(pk=link.user_id, is_active=True)
            if not list(active.values_list("pk")):
                raise _suspended()
            _refuse_too_many(link)  # again: others may have uploaded beside this one
            try:
                with transaction.atomic():
                    UsedUploadLink(id=link.id, user_id=link.user_id, used_at=database_now()).save(force_insert=True)
            except IntegrityError:
                raise _used() from None
            storage.rename(written, link.name)
    finally:
        written.unlink(missing_ok=True)


def _folder() -> Path:
    """Where this server lets uploads wait. Raises NotFound where the storage takes uploads itself."""
    folder = storing.storage_folder()
    if folder is None:
        raise NotFound("Files are uploaded to the storage itself here.")
    return folder / FOLDER


def _refuse(link: UploadLink, content_type: str, length: int) -> None:
    if link.content_type and _plain(content_type) != _plain(link.content_type):
        raise BadRequest("Content-Type: the address was given out for another one.")
    if length > settings.UPLOAD_MB * MEGABYTE:
        raise PayloadTooLarge(f"The file is larger than {settings.UPLOAD_MB} MB.")


def _refuse_too_many(link: UploadLink) -> None:
    """Raises TooManyRequests where its owner's uploads of today have reached their bound."""
    if UsedUploadLink.objects.filter(user=link.user_id, used_at__gt=database_now() - KEPT).count() >= MOST_A_DAY:
        refusals.count("uploads_per_user")
        raise TooManyRequests("You have uploaded too many files today.", retry_after=SECONDS)


def _plain(content_type: str) -> str:
    """A content type without its parameters."""
    return content_type.partition(";")[0].strip().lower()


def _used() -> Conflict:
    return Conflict("This address has taken a file already; ask for a new one.")


def _suspended() -> Forbidden:
    return Forbidden("Your account is suspended.")
