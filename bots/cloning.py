"""Copies of bots."""

from dataclasses import replace

from bedrock_chat.identity.caller import Caller
from bots import access, content, editing, verbs
from bots.models import Bot


def clone(source_id: str, bot_id: str, title: str | None = None, *, actor: Caller) -> Bot:
    """Makes a bot of the caller's own like one that they may clone: private, without secrets, with the same files.

    Raises NotFound, Forbidden, BadRequest for one bot too many, and Conflict for an id that was ever taken.
    """
    with editing.one_more_bot(actor):
        source = access.get_clonable(actor, source_id)
        copy = content.cloned(source)
        if title is not None:
            copy = replace(copy, title=title)
        return editing.insert(bot_id, copy, verbs.CLONE, {"source": [source_id]}, actor=actor)
