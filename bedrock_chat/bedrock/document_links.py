"""Addresses of documents in S3, as somebody can open them: signed anew at each read, for an hour."""

import functools
import logging
from typing import Any, Final

import botocore.config
import botocore.exceptions
from django.conf import settings

from bedrock_chat.bedrock import clients

logger = logging.getLogger(__name__)

SCHEME: Final = "s3://"
SECONDS: Final = 3600


def is_in_s3(link: str | None) -> bool:
    return link is not None and link.startswith(SCHEME)


def readable(link: str | None) -> str | None:
    """The same document at an address that a browser can open. Every link but an `s3://` one is that already.

    Without credentials, and with the emulator, it stays as it is. The first call may ask AWS for credentials: hold no
    pooled connection.
    """
    if link is None or not is_in_s3(link) or settings.BEDROCK == "emulator":
        return link
    bucket, _, key = link.removeprefix(SCHEME).partition("/")
    if not bucket or not key:
        return link
    try:
        signed: str = _client().generate_presigned_url(
            "get_object", Params={"Bucket": bucket, "Key": key}, ExpiresIn=SECONDS
        )
    except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
        logger.warning("The address of a document in S3 cannot be signed: %s.", type(error).__name__)
        return link
    return signed


@functools.cache
def _client() -> Any:
    """The client that signs. It sends nothing."""
    regional: Any = {"us_east_1_regional_endpoint": "regional", "addressing_style": "virtual"}
    config = botocore.config.Config(signature_version="s3v4", s3=regional)
    return clients.new_session().client("s3", region_name=settings.BEDROCK_REGION, config=config)
