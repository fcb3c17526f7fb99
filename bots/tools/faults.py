"""From the faults of those who are called to results: each has a sentence already, which is ours and quotes nobody."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bedrock_chat.bedrock import agent_calls, agents
from bedrock_chat.bedrock.agent_calls import CallFault
from bedrock_chat.outbound import faults as outbound
from bedrock_chat.outbound.faults import OutboundFault
from bedrock_chat.process.interruption import Interrupted
from bots.tools import servers
from bots.tools.tool import Outcome, ToolFault

_OUTCOMES: Final[tuple[tuple[type[CallFault | OutboundFault], Outcome], ...]] = (
    (agent_calls.Gone, "missing"),
    (agent_calls.Throttled, "throttled"),
    (agent_calls.Denied, "denied"),
    (agent_calls.TimedOut, "timeout"),
    (agent_calls.Unreachable, "unreachable"),
    (agent_calls.Empty, "empty"),
    (agent_calls.Misconfigured, "settings"),
    (agents.TooLong, "too_large"),
    (outbound.NotAllowed, "settings"),
    (outbound.NotResolved, "unreachable"),
    (outbound.Unreachable, "unreachable"),
    (outbound.TimedOut, "timeout"),
    (outbound.TooLarge, "too_large"),
    (outbound.Encoded, "unreadable"),
    (outbound.Unreadable, "unreadable"),
)


@contextmanager
def translated() -> Iterator[None]:
    """Around a call: raises a ToolFault for each of its faults."""
    try:
        yield
    except (CallFault, OutboundFault) as fault:
        outcome: Outcome = next((outcome for kind, outcome in _OUTCOMES if isinstance(fault, kind)), "failed")
        raise ToolFault(fault.reason, outcome, counts=outcome in ("timeout", "unreachable")) from None
    except Interrupted:
        raise servers.stopped() from None
