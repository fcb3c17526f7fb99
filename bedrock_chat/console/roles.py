"""Roles of operators, and what each may do.

An operator's role is a group of Django's, which a migration makes. What a role may do stands in the code: each app says
it beside its console pages with `allow`, so that no database has an older answer than the code that asks. Pages check
Django's permissions alone (`request.user.has_perm("publication.change_publication")`) and know nothing of roles.
"""

import re
from enum import StrEnum
from typing import Any

from django.contrib.auth.backends import BaseBackend

from bedrock_chat.identity.models import User

_CACHE = "_permissions_of_roles"


class Role(StrEnum):
    """From the least to the most: each role may do what those before it may."""

    VIEWER = "viewer"
    """Sees everything but contents of conversations and values of keys."""
    SUPPORT = "support"
    """Also changes limits and budgets, suspends people, retries jobs, rotates keys, pins and unshares."""
    ADMIN = "admin"
    """Also erases, exports, transfers, reveals, reads conversations, and changes models and operators."""


_PERMISSION = re.compile(r"[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*")
_allowed: dict[Role, set[str]] = {role: set() for role in Role}


def allow(role: Role, *permissions: str) -> None:
    """A role, and every role after it, may do something: `allow(Role.SUPPORT, "publication.change_publication")`.

    The permissions are Django's: those of a model by default, or of its `Meta.permissions`. Raises ValueError for what
    is not written `app.codename`.
    """
    for permission in permissions:
        if not _PERMISSION.fullmatch(permission):
            raise ValueError(f"A permission is written app.codename, not {permission!r}.")
        _allowed[role].add(permission)


def permissions_of(role: Role) -> frozenset[str]:
    """What a role may do, with what the roles before it may."""
    ranked = list(Role)
    return frozenset().union(*(_allowed[lesser] for lesser in ranked[: ranked.index(role) + 1]))


def role_of(user: User) -> Role | None:
    """The highest role of a user, whether or not they may sign in. None for somebody without one. Costs a query."""
    names = set(user.groups.values_list("name", flat=True))
    return next((role for role in reversed(Role) if role in names), None)


class RoleBackend(BaseBackend):
    """Answers `has_perm` by an operator's role. It signs nobody in. An operator's groups cost one query a request."""

    def get_group_permissions(self, user_obj: Any, obj: Any = None) -> set[str]:
        """What the operator may do by their role. Nobody else may do anything, nor anybody with one row alone."""
        if obj is not None or not (user_obj.is_active and getattr(user_obj, "is_staff", False)):
            return set()
        if not hasattr(user_obj, _CACHE):
            role = role_of(user_obj)
            setattr(user_obj, _CACHE, frozenset() if role is None else permissions_of(role))
        return set(getattr(user_obj, _CACHE))

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:
        """Whether the operator may do anything with an app's rows: Django's index asks."""
        return any(name.startswith(f"{app_label}.") for name in self.get_group_permissions(user_obj))
