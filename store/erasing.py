"""Erases what the store holds of a person's bots (`bedrock_chat/identity/erasing.py`), once the bots are gone."""

from collections.abc import Iterator

from bedrock_chat.identity.caller import Actor
from store import indexing


def prepare(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Takes the words of bots that are gone from the index. The index is compacted with that of conversations."""
    yield f"{indexing.forget_gone()} bots are taken from the store."


def finish(user_id: str, *, actor: Actor) -> Iterator[str]:
    """Does the same with what requests under way have made since."""
    while indexing.forget_some():
        pass
    yield from ()
