"""AWS's signature version 4 of requests to one address that differ in their body and their moment alone.

botocore makes every request and its signature from nothing: half of what a call costs. Here one request that botocore
has made is the pattern for all later ones. A pattern is used only if it gives, for the body and the moment of that
request, what botocore has made of it, header by header. For everything else, such as bearer tokens, `of` gives None.
"""

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

from botocore.utils import normalize_url_path

ALGORITHM: Final = "AWS4-HMAC-SHA256"
DATE, TOKEN, AUTHORIZATION = "X-Amz-Date", "X-Amz-Security-Token", "Authorization"  # names of headers
INVOCATION, ATTEMPT, LENGTH = "amz-sdk-invocation-id", "amz-sdk-request", "Content-Length"
OF_A_REQUEST: Final = {DATE, TOKEN, AUTHORIZATION, INVOCATION, ATTEMPT, LENGTH}
UNSIGNED: Final = "User-Agent"
OF_ALL: Final = {"Content-Type", UNSIGNED}
PORTS: Final = {"http": 80, "https": 443}

_SCOPE = re.compile(rf"{ALGORITHM} Credential=\S+/\d{{8}}/([^/]+)/([^/]+)/aws4_request, ")


@dataclass(frozen=True, slots=True)
class Pattern:
    """What the requests to one address have in common. `headers` are sent. `signed` are the headers in the text that is
    signed, by their names there, and `head` begins that text.
    """

    url: str
    head: str
    headers: Mapping[str, str]
    signed: Mapping[str, str]
    attempt: str
    region: str
    service: str

    @classmethod
    def of(cls, request: Any, credentials: Any) -> Self | None:
        """The pattern of a request that botocore has prepared and signed, with these credentials if with any."""
        headers = {
            name: value.decode() if isinstance(value, bytes) else value for name, value in request.headers.items()
        }
        scope = _SCOPE.match(headers.get(AUTHORIZATION, ""))
        if scope is None or headers.keys() | {TOKEN} != OF_A_REQUEST | OF_ALL:
            return None
        address = urlsplit(request.url)
        host = address.hostname or ""
        host = f"[{host}]" if ":" in host else host
        port = f":{address.port}" if address.port and address.port != PORTS.get(address.scheme) else ""
        same = {name: value for name, value in headers.items() if name in OF_ALL}
        pattern = cls(
            url=request.url,
            head=f"{request.method}\n{quote(normalize_url_path(address.path), safe='/~')}\n{address.query}",
            headers=same,
            signed={"content-type": headers["Content-Type"], "host": f"{host}{port}"},
            attempt=headers[ATTEMPT],
            region=scope[1],
            service=scope[2],
        )
        frozen = credentials.get_frozen_credentials()
        made = pattern.signed_headers(request.body, frozen, headers[DATE], headers[INVOCATION])
        return pattern if list(made.items()) == list(headers.items()) else None

    def signed_headers(self, body: bytes, credentials: Any, at: str, invocation_id: str) -> dict[str, str]:
        """The headers of a request with such a body, in botocore's order, signed with frozen credentials.

        `at` is the time as in `20261231T235959Z`.
        """
        dated = {DATE: at, TOKEN: credentials.token} if credentials.token else {DATE: at}
        signed = {**self.signed, **{name.lower(): value for name, value in dated.items()}}
        names = sorted(signed)
        lines = [f"{name}:{signed[name]}" for name in names]
        text = "\n".join((self.head, *lines, "", ";".join(names), sha256(body).hexdigest()))
        scope = f"{at[:8]}/{self.region}/{self.service}/aws4_request"
        to_sign = f"{ALGORITHM}\n{at}\n{scope}\n{sha256(text.encode()).hexdigest()}"
        key = _key(credentials.secret_key, at[:8], self.region, self.service)
        signature = hmac.digest(key, to_sign.encode(), "sha256").hex()
        credential = f"Credential={credentials.access_key}/{scope}"
        return {
            **self.headers,
            **dated,
            AUTHORIZATION: f"{ALGORITHM} {credential}, SignedHeaders={';'.join(names)}, Signature={signature}",
            INVOCATION: invocation_id,
            ATTEMPT: self.attempt,
            LENGTH: str(len(body)),
        }


@lru_cache(4)
def _key(secret: str, day: str, region: str, service: str) -> bytes:
    """The key of a day, a region and a service."""
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
