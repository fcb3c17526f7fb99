"""Limits how often passwords may be tried in vain.

An attempt is counted when it begins, before its hash is computed, so that a hundred at once get no further than a
hundred in a row. One that does not fail is given back: only failures count. The counts are of an address, or of an
address and a login together. There is none of a login alone: whoever knows a login could lock its owner out.
"""

import logging
import time
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django_ratelimit.core import get_usage

from bedrock_chat.identity.addresses import client_network
from bedrock_chat.metrics import refusals
from bedrock_chat.wire.errors import TooManyRequests

PER_ADDRESS = "10/m"
PER_ADDRESS_AND_LOGIN = "5/m"

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Failures:
    """The failures under one key. django-ratelimit only counts up: they are attempts begun less those given back."""

    request: HttpRequest
    key: str
    rate: str
    ends_at: float = 0
    """When the minute ends that the attempt is counted in, in seconds since the epoch."""

    def begin(self) -> None:
        """Counts an attempt as failed until it is given back. Raises TooManyRequests beyond the rate."""
        # What is given back is read first: read last, it would hold attempts that began after this one, whose own
        # beginning is not in `begun`, and one too many would pass.
        given_back = self._usage("given back", increment=False)
        now = int(time.time())
        begun = self._usage("begun", increment=True)
        if begun is None or given_back is None:
            return
        self.ends_at = now + begun["time_left"]
        in_one_minute = begun["time_left"] <= given_back["time_left"]
        if begun["count"] - (given_back["count"] if in_one_minute else 0) <= begun["limit"]:
            return
        self.give_back()
        refusals.count("failed_sign_ins")
        seconds = max(1, begun["time_left"])
        unit = "second" if seconds == 1 else "seconds"
        raise TooManyRequests(f"Too many failed sign-ins; try again in {seconds} {unit}.", retry_after=seconds)

    def give_back(self) -> None:
        """Takes the attempt out of its minute's count. In the next minute that would allow a failure more."""
        if int(time.time()) <= self.ends_at:
            self._usage("given back", increment=True)

    def _usage(self, count: str, *, increment: bool) -> dict[str, Any] | None:
        try:
            usage: dict[str, Any] | None = get_usage(
                self.request, group=f"passwords {count}", key=lambda *_: self.key, rate=self.rate, increment=increment
            )
        except Exception as error:  # noqa: BLE001  operators must get in while the cache is down; few hashes run at a time
            logger.warning("failed sign-ins are not counted: %s", type(error).__name__)
            return None
        return usage


@dataclass(frozen=True, slots=True)
class Attempt:
    counts: tuple[_Failures, ...]

    def give_back(self) -> None:
        """The attempt did not fail."""
        for failures in self.counts:
            failures.give_back()


def begin(request: HttpRequest, login: str) -> Attempt:
    """Counts an attempt to sign in as failed, until it is given back. Raises TooManyRequests."""
    network = client_network(request)
    of_address = _Failures(request, network, PER_ADDRESS)
    of_both = _Failures(request, f"{network} {login}", PER_ADDRESS_AND_LOGIN)
    of_address.begin()
    try:
        of_both.begin()
    except TooManyRequests:
        of_address.give_back()
        raise
    return Attempt((of_address, of_both))
