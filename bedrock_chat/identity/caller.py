"""Who acts: a user, a key of a publication, or a program."""

from dataclasses import dataclass, field
from typing import Literal

from django.http import HttpRequest
from rest_framework.request import Request

from bedrock_chat.identity.models import User
from bedrock_chat.identity.origin import NOWHERE, Origin, origin_of

ADMIN = "Admin"
CREATING_BOT_ALLOWED = "CreatingBotAllowed"
PUBLISH_ALLOWED = "PublishAllowed"


@dataclass(frozen=True, slots=True)
class Published:
    """What a key of a publication reaches: one bot, pinned to a version or as it is now (None). `payer_id` is the user
    who pays, and `payer_groups` are their last seen groups, which permit nothing: they say whose money it is.
    `user_label` is the integrator's own name for who asks; it permits nothing either. `tool_rounds` and `tool_seconds`
    are the publication's bounds for tools, which only lower the bot's.
    """

    bot_id: str
    bot_version: int | None
    payer_id: str
    user_label: str = ""
    payer_groups: frozenset[str] = frozenset()
    tool_rounds: int | None = None
    tool_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Caller:
    """The verified origin of a request, made by authentication and handed to every domain function as `actor`.

    Either `user_id` is set, or `publication_id` and `key_id` are, and `published` where a turn is asked for. `groups`
    are the token's. An operator is a user who signed in to the console. `origin` says from where the request came; two
    callers who differ in nothing else are the same caller.
    """

    user_id: str | None
    publication_id: str | None = None
    key_id: str | None = None
    groups: frozenset[str] = frozenset()
    is_operator: bool = False
    published: Published | None = None
    origin: Origin = field(default=NOWHERE, compare=False)

    def __post_init__(self) -> None:
        if (self.user_id is None) == (self.publication_id is None):
            raise ValueError("A caller is a user or a publication.")

    @property
    def account(self) -> str:
        """Whom things are counted for: `user:<id>` or `publication:<id>`."""
        return f"publication:{self.publication_id}" if self.user_id is None else f"user:{self.user_id}"

    @property
    def payer_id(self) -> str | None:
        """Who pays for what the caller asks: themselves, or the owner of the bot that a key reaches."""
        return self.user_id if self.published is None else self.published.payer_id

    @property
    def payer_groups(self) -> frozenset[str]:
        """The groups of who pays."""
        return self.groups if self.published is None else self.published.payer_groups

    @property
    def is_admin(self) -> bool:
        """A person of the group Admin, or an operator, whose page has checked that they may do this very thing.

        A key is nobody's, whatever its publication's owner may do.
        """
        return self.user_id is not None and (self.is_operator or ADMIN in self.groups)

    def is_in(self, group: str) -> bool:
        """Membership as the contract counts it: Admin implies every group. So does an operator (`is_admin`)."""
        return group in self.groups or ADMIN in self.groups or self.is_operator


@dataclass(frozen=True, slots=True)
class Program:
    """What acts where no person does: a command (`erase_user`), or a job of some kind.

    A job that goes on with what a person began makes a Caller again, of the user's id in its payload.
    """

    kind: Literal["command", "job"]
    name: str

    @classmethod
    def command(cls, name: str) -> "Program":
        return cls("command", name)

    @classmethod
    def job(cls, kind: str) -> "Program":
        return cls("job", kind)


Actor = Caller | Program


def caller_of(request: Request) -> Caller:
    """The verified caller of an authenticated request."""
    assert isinstance(request.auth, Caller)
    return request.auth


def operator_of(request: HttpRequest) -> Caller:
    """The operator who sent a request to the console. The page has checked what they may do, so no group is needed."""
    assert isinstance(request.user, User)
    return Caller(user_id=request.user.pk, is_operator=True, origin=origin_of(request))
