"""Olga and other operators, and what they send to the console."""

import re
from typing import Any

from django.contrib.auth.models import Permission
from django.test import Client

from bedrock_chat.identity.models import User
from bedrock_chat.wire.ids import new_id

PASSWORD = "correct horse battery"


def make_operator(login: str = "olga", *permissions: str, **columns: Any) -> User:
    """An operator who may do what is named: `view_user`, `change_job`."""
    operator = User(id=f"local:{new_id()}", login=login, username=login, **{"is_staff": True, **columns})
    operator.set_password(PASSWORD)
    operator.save()
    operator.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    return operator


def make_viewer(login: str = "vera") -> User:
    """An operator who may look at everything and change nothing."""
    codenames = Permission.objects.filter(codename__startswith="view_").values_list("codename", flat=True)
    return make_operator(login, *codenames)


def sign_in(login: str = "olga", password: str = "wrong", *, path: str = "/console/login/", **extra: Any) -> Any:
    """The answer to a sign-in, by default with a wrong password."""
    return Client().post(path, {"username": login, "password": password}, **extra)


def text_of(response: Any, login: str) -> str:
    """The page without what differs each time: the login that was typed and the token against forgery."""
    page = response.content.decode().replace(login, "LOGIN")
    return re.sub(r'(name="csrfmiddlewaretoken" value=)"\w+"', r"\1", page)
