"""From where a request came: what the audit keeps of it, without the request itself."""

from dataclasses import dataclass

from django.http import HttpRequest

from bedrock_chat import logs
from bedrock_chat.identity.addresses import address_behind_proxies, claimed_by, network_of


@dataclass(frozen=True, slots=True)
class Origin:
    """The id of a request, as its line in the log has it, and who seems to have sent it.

    Every request makes one and few need the network, so it is worked out when it is asked for.
    """

    request_id: str = ""
    peer: str = ""
    forwarded_for: str = ""

    @property
    def network(self) -> str:
        """The client's address, of an IPv6 one its /64. Empty if there was no connection."""
        return network_of(address_behind_proxies(self.peer, self.forwarded_for))


NOWHERE = Origin()
"""The origin of what no request caused."""


def origin_of(request: HttpRequest) -> Origin:
    """The origin of a request, or of a WebSocket's message."""
    peer, forwarded_for = claimed_by(request)
    return Origin(logs.request_id(), peer, forwarded_for)
