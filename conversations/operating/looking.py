"""An operator's look at what was said: permitted for a reason, recorded, and over after a while."""

from collections.abc import MutableMapping
from typing import Any, Final

from django.db import transaction
from django.db.models import TextChoices

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Actor
from bedrock_chat.wire.errors import Conflict, NotFound
from conversations.models import Conversation

LOOK_SECONDS: Final = 15 * 60
"""So long a look lasts. Who wants to read on looks again, and that is recorded again."""
MOST_LOOKS: Final = 20
SESSION_KEY: Final = "looks at conversations"


class Reason(TextChoices):
    """Why an operator reads a conversation. The audit keeps no texts, so there are these."""

    COMPLAINT = "complaint", "Its owner asked for help or complained"
    QUALITY = "quality", "An answer was rated badly"
    ABUSE = "abuse", "Suspected abuse"
    SECURITY = "security", "A security incident"
    LEGAL = "legal", "A legal duty"


READ: Final = verbs.register(
    "read",
    target="conversation",
    values={"reason": verbs.one_of(lambda: Reason.values), "user": verbs.ids, "publication": verbs.ids},
)


def look(key: int, *, reason: Reason, actor: Actor) -> None:
    """Records that an operator reads a conversation, and whose it is, before they see a word of it.

    Raises NotFound, and Conflict where its owner is being erased: what they wanted to be forgotten is read no more.
    """
    with transaction.atomic():
        conversation = readable(key)
        owner = {
            name: [value]
            for name, value in (("user", conversation.user_id), ("publication", conversation.publication_id))
            if value
        }
        record(READ, conversation.external_id, actor=actor, values={"reason": reason.value, **owner})


def readable(key: int) -> Conversation:
    """The conversation of that key, for whoever may read it. Raises NotFound, and Conflict as `look`."""
    conversation = Conversation.objects.filter(pk=key).first()
    if conversation is None:
        raise NotFound("There is no such conversation any more.")
    if not Conversation.objects.open_to_operators().filter(pk=key).exists():
        raise Conflict("Its owner is being erased, and it with them.")
    return conversation


# ---- How long ------------------------------------------------------------------------------------------------------


def open_in(session: MutableMapping[str, Any], key: int) -> None:
    """Begins a look in an operator's session. Of many, the newest stay."""
    now = database_now().timestamp()
    looks = {name: until for name, until in session.get(SESSION_KEY, {}).items() if until > now and name != str(key)}
    newest = list(looks.items())[-(MOST_LOOKS - 1) :]
    session[SESSION_KEY] = {**dict(newest), str(key): now + LOOK_SECONDS}


def is_open(session: MutableMapping[str, Any], key: int) -> bool:
    """Whether a look of this session is not over."""
    until: float = session.get(SESSION_KEY, {}).get(str(key), 0)
    return until > database_now().timestamp()
