"""What the directory tells of people and groups, whoever it asks."""

from dataclasses import dataclass
from typing import Final

from bedrock_chat.wire.errors import ServiceUnavailable

MOST_PEOPLE: Final = 10
MOST_GROUPS: Final = 100
"""How many a search finds."""


@dataclass(frozen=True, slots=True)
class Person:
    """`id` is the subject of the person's tokens, by which bots are shared. `name` is their user name."""

    id: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    description: str = ""

    def begins_with(self, prefix: str) -> bool:
        """Whether the name does, in any case."""
        return self.name.casefold().startswith(prefix.casefold())


class DirectoryUnavailable(ServiceUnavailable):
    default_detail = "The directory of people does not answer; try again."

    def __init__(self) -> None:
        super().__init__(retry_after=5)
