"""The user behind a token."""

from bedrock_chat.database import compiled_sql
from bedrock_chat.identity import last_seen
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.identity.tokens import Claims
from bedrock_chat.wire.errors import Forbidden, NotFound


def user_of(claims: Claims) -> User:
    """The user's row. Read for each request, so that suspending acts at once; written only if the claims changed.

    That they were seen is written by the heartbeat (`last_seen`).
    """
    columns = {"username": claims.username, "email": claims.email, "token_groups": list(claims.groups)}
    user = compiled_sql.get(User, {"pk": claims.sub})
    if user is None:
        new = User(pk=claims.sub, **columns)
        new.set_unusable_password()
        User.objects.bulk_create([new], ignore_conflicts=True)  # two first requests may race
        user = User.objects.get(pk=claims.sub)
    if any(getattr(user, name) != value for name, value in columns.items()):
        User.objects.filter(pk=user.pk).update(**columns)
        for name, value in columns.items():
            setattr(user, name, value)
    last_seen.note(user)
    return user


def hold(actor: Caller) -> None:
    """Locks the caller's row until the transaction ends, so that they are not erased meanwhile.

    For who stores the caller's id where no foreign key holds it. Raises Forbidden if the caller was erased.
    """
    row = User.objects.select_for_update(no_key=True).filter(pk=actor.user_id)
    if not list(row.values_list("pk")):
        raise Forbidden("Your account is gone.")


def locked(user_id: str) -> User:
    """A user's row, locked until the transaction ends, for who suspends, restores or erases them. Raises NotFound."""
    row = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if row is None:
        raise NotFound(f"No user found with id: {user_id}")
    return row


def refuse_erased(actor: Caller) -> None:
    """For who got an IntegrityError: raises Forbidden if the caller was erased meanwhile."""
    if actor.user_id is not None and not User.objects.filter(pk=actor.user_id).exists():
        raise Forbidden("Your account is gone.") from None
