"""The address of a client behind proxies, and the network that limits count it by."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The address of the client that sent a request."""
    return address_behind_proxies(*claimed_by(request))


def client_network(request: HttpRequest) -> str:
    """The network of the client that sent a request."""
    return network_of(client_address(request))


def claimed_by(request: HttpRequest) -> tuple[str, str]:
    """The peer of a request's connection, and its header `X-Forwarded-For`."""
    return str(request.META.get("REMOTE_ADDR", "")), str(request.META.get("HTTP_X_FORWARDED_FOR", ""))


def address_behind_proxies(peer: str, forwarded_for: str) -> str:
    """The right-most hop of `X-Forwarded-For` that `TRUSTED_PROXIES` does not name.

    The walk begins at the peer of the connection; a client can put whatever it likes to the left of what our own
    proxies append. Something that is no address ends the walk at the hop before it.
    """
    address = _address(peer) or peer
    hops = forwarded_for.split(",")
    while hops and _is_trusted(address):
        hop = _address(hops.pop())
        if hop is None:
            break
        address = hop
    return address


def network_of(address: str) -> str:
    """The address itself, of an IPv6 one the /64 it lies in: the least that a provider gives to one customer."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.IPv6Network((int(parsed), 64), strict=False)) if parsed.version == 6 else address


def _is_trusted(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in settings.TRUSTED_PROXIES)


def _address(hop: str) -> str | None:
    """An IP address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`."""
    hop = hop.strip()
    if hop.startswith("["):
        hop = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        hop = hop.partition(":")[0]
    try:
        parsed = ipaddress.ip_address(hop)
    except ValueError:
        return None
    # A socket that listens on `::` reports IPv4 peers as ::ffff:192.0.2.1, which no IPv4 network contains.
    return str(getattr(parsed, "ipv4_mapped", None) or parsed)
