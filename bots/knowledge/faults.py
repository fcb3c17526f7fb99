"""What this server itself does wrong in a work of a sync: the log says where, and the work alone fails.

Sentences for who may edit a bot tell whose fault it is, so that operators hear of what is theirs to mend, and not of
everybody's wrong addresses (`is_of_operators`).

What is away is no fault of a document: the slice gives up its turn, and the next one tries again.
"""

import errno
import logging
import traceback
from typing import Final

from django.db import DatabaseError, DataError, InterfaceError
from django.db.models import Q

from bedrock_chat.blobs import s3_folders
from bedrock_chat.jobs.queue import LeaseLost

logger = logging.getLogger(__name__)

PLACES: Final = 5
AWAY_SECONDS: Final = 60.0
"""After which a storage or a disk is tried again."""
DISK_AWAY: Final = "This server cannot write or read its files just now; it tries again in a minute."
OF_THIS_SERVER: Final = "because of a fault of this server."
WORKER_LOST: Final = "Its worker was lost three times while it was read."
NO_ACCESS: Final = "Bedrock refuses access to"
REFUSED_FOR_LONG: Final = "has refused every call for an hour"
_OF_OPERATORS: Final = (
    *(OF_THIS_SERVER, WORKER_LOST, NO_ACCESS, REFUSED_FOR_LONG),
    *(s3_folders.ANSWERED, s3_folders.TIMED_OUT, s3_folders.UNREACHABLE),
    *(s3_folders.NO_CREDENTIALS, s3_folders.NO_BUCKET),  # operators name the buckets (`KNOWLEDGE_S3`)
)


def is_of_operators(sentence: str) -> bool:
    """Whether a reason is operators' to mend: a fault of this server, of the model, of S3. All else is the owner's."""
    return any(part in sentence for part in _OF_OPERATORS)


def are_of_operators(column: str) -> Q:
    """The condition that `is_of_operators` holds of a column of sentences. Narrow the rows down by others first."""
    condition = Q()
    for part in _OF_OPERATORS:
        condition |= Q(**{f"{column}__contains": part})
    return condition


def ends_slice(error: Exception) -> bool:
    """Whether an error is not about one document or list: the job is lost, or the database is away."""
    return isinstance(error, LeaseLost | DatabaseError | InterfaceError) and not isinstance(error, DataError)


def log(pk: int, error: Exception) -> None:
    """Notes an error of a work."""
    logger.error("a fault in a sync of knowledge %d: %s", pk, described(error))


def described(error: Exception) -> str:
    """An error by its type and places, for the log. Its text may quote an address or what a document says."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-PLACES:]))
    code = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    return f"{type(error).__name__}{code and ' '}{code} at {places}"
