"""Waiting for the answer to a question: what ends it, and how that is found out for all who wait at once."""

from collections.abc import Iterable

from bedrock_chat.process import watching
from bedrock_chat.process.watching import Topic
from publication.models import ApiKey, TurnRequest

LONGEST_SECONDS = 60
TURN_ENDED = "published turn ended"
KEY_ENDED = "api key ended"


def topics(turn: TurnRequest, key: ApiKey) -> tuple[Topic, Topic]:
    """What ends the wait of somebody with that key: the turn has ended, or the key opens its API no more.

    With a publication that is withdrawn, its keys end.
    """
    return _turn_ended(turn), Topic(KEY_ENDED, key.pk)


def tell(turn: TurnRequest) -> None:
    """The turn has ended: call this after the transaction."""
    watching.tell(_turn_ended(turn))


def _turn_ended(turn: TurnRequest) -> Topic:
    """A name that is unique in all deployments that may share a Redis, and tells the row."""
    return Topic(TURN_ENDED, f"{turn.message_id}/{turn.pk}")


def ended_turns(names: list[str]) -> Iterable[str]:
    """Those turns that have ended, by one query."""
    by_pk = {int(name.rpartition("/")[2]): name for name in names}
    ended = TurnRequest.objects.filter(pk__in=by_pk, done_at__isnull=False).values_list("pk", flat=True)
    return [by_pk[pk] for pk in ended]


def ended_keys(ids: list[str]) -> Iterable[str]:
    """Those keys that open no API any more, by one query."""
    return set(ids).difference(ApiKey.objects.valid().filter(pk__in=ids).values_list("pk", flat=True))
