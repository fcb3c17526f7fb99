"""Calls to services of AWS for which a request or a job waits: few at a time, bounded in total, none while it is away.

Models have bounds of their own, see `runtime`.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import botocore.exceptions
import urllib3.exceptions

from bedrock_chat.process.interruption import Interrupted, Interruption
from bedrock_chat.resilience import deadlines
from bedrock_chat.resilience.dependencies import Away, Dependency
from bedrock_chat.wire.errors import ServiceUnavailable

CONNECT_SECONDS = 3.0
PROBE_SECONDS = 3.0
SERVERS_FAULT = 500

UNREACHABLE = (
    botocore.exceptions.HTTPClientError,
    botocore.exceptions.ConnectionError,
    botocore.exceptions.IncompleteReadError,
    urllib3.exceptions.HTTPError,
    Interrupted,
    ConnectionError,
    TimeoutError,
)
"""What a call raises when nobody answers, or not to the end."""


@contextmanager
def bounded(
    dependency: Dependency,
    *,
    seconds: float,
    places: threading.BoundedSemaphore,
    queue_seconds: float,
    refusal: type[ServiceUnavailable],
) -> Iterator[None]:
    """Around all that one request asks of a service, to the last byte of a body. Raises `refusal`, which is made
    without arguments, if the service is away, does not answer in time or has a fault of its own.

    `places` are the calls of this process that may run at a time; the others wait for `queue_seconds`. What the service
    says of the request, a ClientError below 500, is passed on.
    """
    try:
        dependency.refuse_while_away()
    except Away:
        raise refusal from None
    if not places.acquire(timeout=queue_seconds):
        raise refusal
    try:
        with in_time(seconds, dependency):
            yield
    except UNREACHABLE as error:
        dependency.failed(error)
        raise refusal from error
    except botocore.exceptions.ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] < SERVERS_FAULT:
            raise
        raise refusal from error
    finally:
        places.release()


@contextmanager
def in_time(seconds: float, dependency: Dependency) -> Iterator[None]:
    """Ends what this thread asks of a service. Raises TimeoutError, and whatever the service and the network cause.

    The client must be there already (to make it takes a second on a busy machine, which is no fault of the service) and
    its connections must be those of `connections`.
    """
    interrupt = Interruption()
    with deadlines.hang_up_after(seconds, interrupt.expire), interrupt.of_this_thread():
        try:
            yield
        except UNREACHABLE as error:
            if interrupt.expired:
                raise TimeoutError(f"{dependency.name}: no answer within {seconds:g} seconds") from error
            raise


@contextmanager
def probing(dependency: Dependency) -> Iterator[None]:
    """Around a call that finds out whether a service answers. Raises if it does not; one that refuses is an answer."""
    with in_time(PROBE_SECONDS, dependency):
        try:
            yield
        except botocore.exceptions.ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] >= SERVERS_FAULT:
                raise
