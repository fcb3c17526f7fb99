"""An address as somebody wrote it, read once: what is judged, called, named in TLS and in `Host` is the same."""

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from urllib.parse import quote, urlsplit

from bedrock_chat.outbound.faults import NotAllowed

LONGEST_URL = 8_192
PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]{0,252})")
_UNWRITABLE = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_SAFE = "/%:@!$&'()*+,;=~?-._[]|"


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. `resource` is its path and query, percent-encoded; it is in no `repr`."""

    scheme: str
    host: str
    port: int
    resource: str = field(repr=False)

    @property
    def is_encrypted(self) -> bool:
        return self.scheme == "https"


def parse(url: str) -> Target:
    """Raises NotAllowed for all that is no http(s) address, and for one with a user's name or password in it."""
    if len(url) > LONGEST_URL or _UNWRITABLE.search(url.strip()):
        raise NotAllowed
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise NotAllowed from None
    if parts.scheme not in PORTS or "@" in parts.netloc or not parts.hostname or port == 0:
        raise NotAllowed
    resource = quote(parts.path or "/", safe=_SAFE)
    if not resource.startswith("/"):
        raise NotAllowed
    if parts.query:
        resource += f"?{quote(parts.query, safe=_SAFE)}"
    return Target(parts.scheme, _host(parts.hostname), port or PORTS[parts.scheme], resource)


def _host(host: str) -> str:
    """A name in ASCII, or an address. Raises NotAllowed."""
    if ":" in host:
        try:
            return str(IPv6Address(host)) if "%" not in host else _refuse()
        except AddressValueError:
            raise NotAllowed from None
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise NotAllowed from None
    if not _NAME.fullmatch(name):
        raise NotAllowed
    return name


def _refuse() -> str:
    """An address with a zone is one of this machine's own links."""
    raise NotAllowed
