"""Suspending a person, and letting them in again. Both take effect with the next request; a running turn finishes."""

from django.db import transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.identity import session_store, users
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.people import erasing
from bedrock_chat.wire.errors import BadRequest, Conflict

SUSPEND_USER = verbs.register("suspend", target="user")
RESTORE_USER = verbs.register("restore", target="user")


def suspend(user_id: str, *, actor: Caller) -> bool:
    """Suspends a person: their next request is a 403, and so is each call of their published APIs.

    Returns whether they were not suspended before. Raises NotFound, and BadRequest for the operator's own account.
    """
    if user_id == actor.user_id:
        raise BadRequest("You cannot suspend yourself.")
    with transaction.atomic():
        if not users.locked(user_id).is_active:
            return False
        User.objects.filter(pk=user_id).update(is_active=False)
        session_store.end_all(user_id)  # they would go on once the person is restored
        record(SUSPEND_USER, user_id, actor=actor)
    return True


def restore(user_id: str, *, actor: Caller) -> bool:
    """Lets a suspended person in again. Returns whether they were suspended.

    Raises NotFound, and Conflict for somebody who is being erased: that is called off first.
    """
    with transaction.atomic():
        user = users.locked(user_id)
        if erasing.running(user_id).exists():
            raise Conflict("This person is being erased.")
        if user.is_active:
            return False
        User.objects.filter(pk=user_id).update(is_active=True)
        record(RESTORE_USER, user_id, actor=actor)
    return True
