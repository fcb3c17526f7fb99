"""What this server itself does wrong in a work of a sync: the log says where, and the work alone fails."""

import errno
import logging
import traceback
from typing import Final

from django.db import DatabaseError, DataError, InterfaceError

from bedrock_chat.jobs.queue import LeaseLost

logger = logging.getLogger(__name__)

PLACES: Final = 5
OF_THIS_SERVER: Final = "because of a fault of this server."
WORKER_LOST: Final = "Its worker was lost three times while it was read."
NO_ACCESS: Final = "Bedrock refuses access to"
REFUSED_FOR_LONG: Final = "has refused every call for an hour"


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
