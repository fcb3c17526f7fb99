"""The user behind a token."""

from bedrock_chat.database import compiled_sql
from bedrock_chat.identity.models import User
from bedrock_chat.identity.tokens import Claims


def user_of(claims: Claims) -> User:
    """The user's row: read per request, so that suspending acts at once; written only where the claims are news."""
    claimed = {"username": claims.username, "email": claims.email, "token_groups": list(claims.groups)}
    user = compiled_sql.get(User, {"pk": claims.sub})
    if user is None:
        new = User(pk=claims.sub, **claimed)
        new.set_unusable_password()
        User.objects.bulk_create([new], ignore_conflicts=True)  # two first requests may race
        user = User.objects.get(pk=claims.sub)
    if any(getattr(user, name) != value for name, value in claimed.items()):
        User.objects.filter(pk=user.pk).update(**claimed)
        for name, value in claimed.items():
            setattr(user, name, value)
    return user
