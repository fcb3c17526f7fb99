"""Operators: who may sign in to the console, and in which role. Each write leaves an entry in the audit."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import Change, record
from bedrock_chat.console.roles import Role, role_of
from bedrock_chat.identity import users
from bedrock_chat.identity.caller import Actor, Caller
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import BadRequest, Conflict
from bedrock_chat.wire.ids import new_id

LONGEST_LOGIN = 150
GENERATED_BYTES: Final = 12
COGNITO_PREFIX: Final = "cognito:"
"""How the login of an operator begins who came by Cognito. Most have no password, so nobody can type it."""

_ROLE = {"role": verbs.one_of(lambda: set(Role))}
CREATE_OPERATOR = verbs.register("create operator", target="user", values=_ROLE)
RETIRE_OPERATOR = verbs.register("retire operator", target="user", values=_ROLE)
CHANGE_ROLE = verbs.register("change role", target="user", values=_ROLE)


def create(login: str, role: Role, password: str, *, actor: Actor) -> User:
    """Makes an operator who signs in with a login and a password.

    Raises BadRequest for a login that cannot be typed or a password that is too easy, and Conflict for a login that is
    taken.
    """
    operator = User(id=f"local:{new_id()}", login=login, username=login, is_staff=True)
    _set_password(operator, password)
    with _free_login(), transaction.atomic():
        operator.save(force_insert=True)
        assign(operator, role)
        record(CREATE_OPERATOR, operator.pk, actor=actor, values={"role": role})
    return operator


def promote(user_id: str, login: str, role: Role, *, actor: Actor) -> str:
    """Makes an operator of a person who has signed in to the chat. Returns their password, which is stored nowhere.

    Raises NotFound, BadRequest for a login that cannot be typed, and Conflict for one that is taken, for who is an
    operator already, and for who is suspended.
    """
    password = secrets.token_urlsafe(GENERATED_BYTES)
    hashed = User(login=login)
    _set_password(hashed, password)
    with _free_login(), transaction.atomic():
        person = users.locked(user_id)
        if person.is_staff:
            raise Conflict("This person is an operator already.")
        if not person.is_active:
            raise Conflict("This person is suspended.")
        person.login, person.password, person.is_staff = login, hashed.password, True
        person.save(update_fields=["login", "password", "is_staff"])
        assign(person, role)
        record(CREATE_OPERATOR, person.pk, actor=actor, values={"role": role})
    return password


def set_role(operator: User, role: Role | None, *, actor: Actor) -> bool:
    """Gives an operator another role, or none: then they see no page. Returns whether it was another one.

    Raises BadRequest for who is no operator and for one's own role, and Conflict for the last admin's and for who may
    do everything whatever the role.
    """
    if not operator.is_staff:
        raise BadRequest("Only operators have roles.")
    if operator.is_superuser:
        raise Conflict("This operator may do everything, whatever their role.")
    if isinstance(actor, Caller) and actor.user_id == operator.pk:
        raise BadRequest("Another admin changes your role.")
    with transaction.atomic():
        # Of two admins who take each other's role at once, the second one waits here, and is then the last.
        Group.objects.select_for_update().filter(name=Role.ADMIN).first()
        users.locked(operator.pk)
        before = role_of(operator)
        if before is role:
            return False
        if before is Role.ADMIN and not _admins().exclude(pk=operator.pk).exists():
            raise Conflict("This is the last admin. Make another one first.")
        assign(operator, role)
        record(CHANGE_ROLE, operator.pk, actor=actor, fields=["role"], values={"role": Change(before, role)})
    return True


def assign(operator: User, role: Role | None) -> None:
    """Puts an operator into the group of one role alone, or of none."""
    operator.groups.remove(*Group.objects.filter(name__in=set(Role) - {role}))
    if role is not None:
        group, _ = Group.objects.get_or_create(name=role)
        operator.groups.add(group)


def _admins() -> "QuerySet[User]":
    """Who may change operators, and is not suspended."""
    is_admin = Q(is_superuser=True) | Q(groups__name=Role.ADMIN)
    return User.objects.filter(is_admin, is_active=True, is_staff=True)


def _set_password(operator: User, password: str) -> None:
    """Sets a password after it and the login were checked. Call it before the transaction: it takes half a second.

    Raises BadRequest.
    """
    login = operator.login or ""
    if not 0 < len(login) <= LONGEST_LOGIN or not login.isprintable() or login != login.strip():
        raise BadRequest(f"A login has 1 to {LONGEST_LOGIN} characters that can be printed, and no space at its ends.")
    if login.startswith(COGNITO_PREFIX):
        raise BadRequest(f"Logins that begin with {COGNITO_PREFIX} are of those who sign in by Cognito.")
    try:
        validate_password(password, operator)
    except ValidationError as error:
        raise BadRequest(" ".join(error.messages)) from None
    operator.set_password(password)


@contextmanager
def _free_login() -> Iterator[None]:
    """Around the transaction that stores a login. Raises Conflict where it is taken."""
    try:
        yield
    except IntegrityError:
        raise Conflict("There is an operator of that login.") from None
