"""What may be recorded: verbs, each with the kind of its target and with the values that its entries may keep.

An app makes its verbs with `register`, in a module that its views or its commands import. The names are English words
for operators, such as `share` and `bot`.
"""

import math
import re
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.utils.crypto import salted_hmac

LONGEST_NAME = 64

Check = Callable[[Any], Any]
"""Takes a value, returns the JSON that is kept of it. Raises UnfitForAudit for a value of another kind."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_. -]{0,63}")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+=/-]{0,199}")


class UnfitForAudit(ValueError):
    """Somebody's code wants to record what the audit does not keep, for instance a text."""


@dataclass(frozen=True, slots=True)
class Verb:
    """What was done, and to what kind of target. `values` says which values an entry may keep, and how they look."""

    name: str
    target: str
    values: Mapping[str, Check] = field(default_factory=dict, compare=False)


_verbs: dict[tuple[str, str], Verb] = {}


def register(name: str, *, target: str, values: Mapping[str, Check] | None = None) -> Verb:
    """Makes a verb known: `register("share", target="bot", values={"scope": one_of(lambda: SCOPES)})`.

    Raises UnfitForAudit for a name that is taken, or that is no plain word of code.
    """
    for word in (name, target, *(values or {})):
        check_name(word)
    if (target, name) in _verbs:
        raise UnfitForAudit(f"There is a verb {name!r} of {target!r} already.")
    _verbs[target, name] = verb = Verb(name, target, values or {})
    return verb


def registered() -> Iterable[Verb]:
    """All verbs, by target and name."""
    return [_verbs[key] for key in sorted(_verbs)]


def check_name(name: Any) -> str:
    """The name of a field, a verb or a value, all of which only code chooses. Raises UnfitForAudit."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UnfitForAudit("A name in the audit has 1 to 64 plain characters.")
    return str(name)


# ---- What values look like ------------------------------------------------------------------------------------------


def flag(value: Any) -> bool | None:
    """A boolean. Raises UnfitForAudit."""
    if value is not None and not isinstance(value, bool):
        raise UnfitForAudit("A flag is true, false or null.")
    return value


def number(value: Any) -> int | float | None:
    """A limit, a count, a place in an order. Raises UnfitForAudit."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if value is not None and not is_number:
        raise UnfitForAudit("A number is finite, or null.")
    return value  # type: ignore[no-any-return]


def one_of(words: Callable[[], Container[str]]) -> Check:
    """A word out of a closed set, such as the scopes of a bot. `words` is called when something is recorded."""

    def check(value: Any) -> str | None:
        if value is not None and (not isinstance(value, str) or value not in words()):
            raise UnfitForAudit("A word is one of those that its verb names.")
        return None if value is None else str(value)

    return check


def ids(value: Any) -> list[str]:
    """Ids of users, groups, models …, each as `kept_id` keeps it. Raises UnfitForAudit."""
    if not isinstance(value, list | tuple | set | frozenset) or not all(isinstance(entry, str) for entry in value):
        raise UnfitForAudit("Ids are a list of strings.")
    entries = sorted(value) if isinstance(value, set | frozenset) else value
    return [kept_id(entry) for entry in entries]


def kept_id(text: str) -> str:
    """An id as the audit keeps it: itself, if it has up to 200 of the characters that ids are made of.

    Clients choose ids of their own, and groups have names in any language. What may be a sentence or an address is kept
    as a digest: entries about the same id are found together, and nobody can read it. It is keyed by `SECRET_KEY`.
    """
    if _PLAIN_ID.fullmatch(text):
        return text
    digest = salted_hmac("bedrock_chat.audit", text.encode(errors="surrogatepass").hex(), algorithm="sha256")
    return f"digest:{digest.hexdigest()[:32]}"


# ---- The kernel's own -----------------------------------------------------------------------------------------------

ERASE_USER = register("erase", target="user")
EXPORT_USER = register("export", target="user")
ISSUE_TOKEN = register("issue token", target="user", values={"groups": ids, "days": number})
CHANGE_PASSWORD = register("change password", target="user")
RETRY_JOB = register("retry", target="job", values={"kind": one_of(lambda: settings.JOBS)})
CANCEL_JOB = register("cancel", target="job", values={"kind": one_of(lambda: settings.JOBS)})
ROTATE_ENCRYPTION = register("rotate", target="encryption key")
GIVE_UP_ENCRYPTION = register("give up", target="encryption key")
EXPORT_AUDIT = register("export", target="audit")
EXPIRE_AUDIT = register("expire", target="audit", values={"days": number})
