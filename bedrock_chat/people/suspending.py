"""Suspending a person, and letting them in again. Both take effect with the next request; a running turn finishes."""

from django.db import transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.identity import session_store
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.people.models import Erasure
from bedrock_chat.wire.errors import BadRequest, Conflict, NotFound

SUSPEND_USER = verbs.register("suspend", target="user")
RESTORE_USER = verbs.register("restore", target="user")


def suspend(user_id: str, *, actor: Caller) -> bool:
    """Suspends a person: their next request is a 403, and so is each call of their published APIs.

    Returns whether they were not suspended before. Raises NotFound, and BadRequest for the operator's own account.
    """
    if user_id == actor.user_id:
        raise BadRequest("You cannot suspend yourself.")
    return _write(user_id, is_active=False, verb=SUSPEND_USER, actor=actor)


def restore(user_id: str, *, actor: Caller) -> bool:
    """Lets a suspended person in again. Returns whether they were suspended.

    Raises NotFound, and Conflict for somebody who is being erased.
    """
    if Erasure.objects.filter(pk=user_id, finished_at__isnull=True).exists():
        raise Conflict("This person is being erased.")
    return _write(user_id, is_active=True, verb=RESTORE_USER, actor=actor)


def _write(user_id: str, *, is_active: bool, verb: verbs.Verb, actor: Caller) -> bool:
    with transaction.atomic():
        rows = User.objects.filter(pk=user_id)
        is_changed = bool(rows.exclude(is_active=is_active).update(is_active=is_active))
        if is_changed:
            if not is_active:
                session_store.end_all(user_id)  # they would go on once the person is restored
            record(verb, user_id, actor=actor)
        elif not rows.exists():
            raise NotFound(f"No user found with id: {user_id}")
    return is_changed
