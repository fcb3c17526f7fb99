"""Stopping a published turn, as its user would: what was said is kept, and what waits never runs."""

import contextlib

from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import NotFound
from conversations.turn import stopping
from publication import running, standing


def stop(conversation_id: str, message_id: str, *, actor: Caller) -> None:
    """Ends the turns of a question that are not over: its own, and those that continue its answer.

    Those that wait are cancelled. Then the one that runs is stopped, in whichever process; it may have begun meanwhile.
    Raises NotFound for a question that this publication has not accepted.
    """
    standing.get(conversation_id, message_id, actor=actor)
    for turn in standing.turns_of(conversation_id, message_id, actor=actor).filter(done_at__isnull=True):
        if standing.running_question(turn) is None:
            running.cancel(turn)
    with contextlib.suppress(NotFound):  # none of them was opened
        stopping.stop(conversation_id, message_id, actor=actor)
