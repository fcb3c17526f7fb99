"""Webhooks: JSON that is posted to an address of the operator's, signed as https://www.standardwebhooks.com says.

The address is out of the settings, never out of a request, so it may be a private one.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

import orjson

from bedrock_chat.outbound.connecting import Trust
from bedrock_chat.outbound.exchange import Request, exchange
from bedrock_chat.outbound.faults import OutboundFault
from bedrock_chat.outbound.targets import parse
from bedrock_chat.process.interruption import Interruption

TOTAL_SECONDS: Final = 10.0
"""For name, connection, TLS, request and the head of the response, however slowly they come."""


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
    deadline = time.monotonic() + TOTAL_SECONDS
    try:
        request = Request("POST", parse(url), body, headers)
        trust = Trust(by_operator=True)
        with exchange(request, trust=trust, deadline=deadline, interruption=Interruption()) as incoming:
            status = incoming.status
    except OutboundFault as fault:
        raise NotDelivered(f"The webhook was not delivered: {fault.reason}") from None
    if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        raise NotDelivered(f"The webhook was answered with {status}.")
