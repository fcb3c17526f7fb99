"""Permission classes of the REST API."""

from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import Forbidden, Unauthenticated


class IsSignedIn(BasePermission):
    """Lets only a verified caller in. Raises Unauthenticated (401) for anybody else."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not isinstance(request.auth, Caller):
            raise Unauthenticated
        return True


def refuse_all_but_admin(actor: Caller) -> None:
    if not actor.is_admin:
        raise Forbidden("Only Admin may do this.")
