"""Runs a tool of a kind so that it raises nothing: faults and mistakes of ours become error results."""

import logging
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

from bedrock_chat.wire.ids import new_id
from bots.tools import results
from bots.tools.tool import STOPPED, Context, Result, ToolFault

logger = logging.getLogger(__name__)

FAILED: Final = "The tool failed."
Kind = Callable[[Mapping[str, Any], Context], Result]


def guarded(name: str, run: Kind) -> Kind:
    """The same tool, whose faults are results. `name` is the one that its error documents have."""

    def guarded_run(value: Mapping[str, Any], context: Context) -> Result:
        try:
            result = run(value, context)
        except ToolFault as fault:
            result = results.error(name, fault.sentence, fault.outcome)
        except Exception as error:  # noqa: BLE001  it is logged, without its text
            result = failed(name, error)
        else:
            return result
        # A call that was ended fails in many ways.
        return results.error(name, STOPPED, "stopped") if context.interruption.requested else result

    return guarded_run


def failed(name: str, error: BaseException) -> Result:
    """The result of a call that failed by a mistake of ours. The log gets the place, and never the error's text.

    That text may quote an address, an input or a credential.
    """
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames[-5:]))
    logger.error("tool failure %s of %s: %s at %s", new_id(), name, type(error).__name__, places)
    return results.error(name, FAILED)
