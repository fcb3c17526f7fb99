"""Operators: who may sign in to the console, and in which role. Each write leaves an entry in the audit."""

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import Change, record
from bedrock_chat.console.roles import Role, role_of
from bedrock_chat.identity.caller import Actor
from bedrock_chat.identity.models import User
from bedrock_chat.wire.errors import BadRequest, Conflict
from bedrock_chat.wire.ids import new_id

LONGEST_LOGIN = 150

_ROLE = {"role": verbs.one_of(lambda: set(Role))}
CREATE_OPERATOR = verbs.register("create operator", target="user", values=_ROLE)
RETIRE_OPERATOR = verbs.register("retire operator", target="user", values=_ROLE)
CHANGE_ROLE = verbs.register("change role", target="user", values=_ROLE)


def create(login: str, role: Role, password: str, *, actor: Actor) -> User:
    """Makes an operator who signs in with a login and a password.

    Raises BadRequest for a login that cannot be typed or a password that is too easy, and Conflict for a login that is
    taken.
    """
    if not 0 < len(login) <= LONGEST_LOGIN or not login.isprintable() or login != login.strip():
        raise BadRequest(f"A login has 1 to {LONGEST_LOGIN} characters that can be printed, and no space at its ends.")
    operator = User(id=f"local:{new_id()}", login=login, username=login, is_staff=True)
    try:
        validate_password(password, operator)
    except ValidationError as error:
        raise BadRequest(" ".join(error.messages)) from None
    operator.set_password(password)  # half a second, before the transaction
    try:
        with transaction.atomic():
            operator.save(force_insert=True)
            _assign(operator, role)
            record(CREATE_OPERATOR, operator.pk, actor=actor, values={"role": role})
    except IntegrityError:
        raise Conflict("There is an operator of that login.") from None
    return operator


def set_role(operator: User, role: Role, *, actor: Actor) -> bool:
    """Gives an operator another role. Returns whether it was another one. Raises BadRequest for who is no operator."""
    if not operator.is_staff:
        raise BadRequest("Only operators have roles.")
    with transaction.atomic():
        User.objects.select_for_update().get(pk=operator.pk)
        before = role_of(operator)
        if before is role:
            return False
        _assign(operator, role)
        record(CHANGE_ROLE, operator.pk, actor=actor, fields=["role"], values={"role": Change(before, role)})
    return True


def _assign(operator: User, role: Role) -> None:
    """Puts an operator into the group of one role alone."""
    operator.groups.remove(*Group.objects.filter(name__in=set(Role) - {role}))
    group, _ = Group.objects.get_or_create(name=role)
    operator.groups.add(group)
