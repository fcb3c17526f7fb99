"""Which addresses may be called: those of the public internet, and those that operators allow.

Addresses are judged, never spellings: `2130706433`, `0x7f.1` and `127.0.0.1` are one address once they are resolved.
"""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PUBLIC_IPV6 = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC: tuple[Network, ...] = tuple(
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, with the metadata of clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a cloud's metadata
        "192.0.2.0/24",
        "192.88.99.0/24",  # relays of 6to4
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: the address of IPv4 inside may be any
        "3fff::/20",
    )
)
"""Written down, because Python's versions differ in what `is_global` means, and none means quite this."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet. One of IPv4 that is mapped into IPv6 is judged as itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        if address not in PUBLIC_IPV6:
            return False
    return address.is_global and not any(address in network for network in NOT_PUBLIC)


@dataclass(frozen=True, slots=True)
class Allowance:
    """What operators allow besides: whole networks, and names or addresses with a port (`host:port`).

    A host is in lower case, and an address of IPv6 without brackets.
    """

    networks: tuple[Network, ...] = ()
    hosts: frozenset[tuple[str, int]] = frozenset()

    def names(self, host: str, port: int) -> bool:
        """Whether that very host is allowed, wherever its name leads."""
        return (host, port) in self.hosts

    def covers(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self.networks)

    def permits(self, host: str, port: int, addresses: Iterable[Address]) -> bool:
        """Whether a host may be called that has these addresses: every one of them must be public, or allowed."""
        if self.names(host, port):
            return True
        judged = [is_public(address) or self.covers(address) for address in addresses]
        return bool(judged) and all(judged)

    def encloses(self, host: str, port: int, addresses: Iterable[Address]) -> bool:
        """Whether a host is within what operators allow, with all of its addresses."""
        judged = [self.covers(address) for address in addresses]
        return self.names(host, port) or (bool(judged) and all(judged))
