"""Webhooks: JSON that is posted to an address of the operator's, signed as https://www.standardwebhooks.com says.

The one way by which this server calls addresses that are no AWS service: few bytes, no redirects, a time-out in total,
and an address out of the settings, never out of a request.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import orjson
import urllib3

from bedrock_chat.resilience.deadlines import within

CONNECT_SECONDS: Final = 3.0
READ_SECONDS: Final = 5.0
TOTAL_SECONDS: Final = 10.0
"""For name, connection, TLS, request and the head of the response, however slowly they come."""

_pool = urllib3.PoolManager(
    timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=False, maxsize=2, block=False
)


class NotDelivered(Exception):
    """The address did not answer in time, or with another status than 2xx. The message names no part of the address."""


def deliver(url: str, secret: bytes, *, event_id: str, sent_at: datetime, document: Mapping[str, Any]) -> None:
    """Posts a document. `event_id` is the same however often it is sent, so that the receiver knows a repeated one.

    The body of the response is not read. Raises NotDelivered.
    """
    body = orjson.dumps(document)
    timestamp = str(int(sent_at.timestamp()))
    signed = b".".join((event_id.encode(), timestamp.encode(), body))
    signature = base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
    headers = {
        "Content-Type": "application/json",
        "webhook-id": event_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": f"v1,{signature}",
    }

    def post() -> int:
        response = _pool.request("POST", url, body=body, headers=headers, redirect=False, preload_content=False)
        response.close()
        return response.status

    try:
        status = within(TOTAL_SECONDS, post)
    except (urllib3.exceptions.HTTPError, TimeoutError, OSError) as error:
        raise NotDelivered(f"The webhook was not delivered: {type(error).__name__}.") from None
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise NotDelivered(f"The webhook was answered with {status}.")
