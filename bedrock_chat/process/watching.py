"""What is waited for in this process. One look at the database, for all who wait, finds what has happened.

Code that makes something happen says so (`tell`): who waits in the same process hears it at once, in other processes
through Redis. Whatever is not heard is found by the next look. While nobody waits there is none.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from bedrock_chat.database import waiting
from bedrock_chat.process import heartbeat, redis_channel

LOOK_SECONDS = 0.2
LOOKS_WITH_REDIS = 10
"""With Redis up, every tenth look is for everything. The others are for what nobody has looked for yet."""
MOST_NAMES = 500
"""Names that are looked for in one query."""
CHANNEL = "bedrock-chat:happened"
WHAT = "things that have happened"

Look = Callable[[list[str]], Iterable[str]]
"""Names → those of them that have happened, by one query."""
Wake = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Topic:
    """Something that happens once. `kind` says who looks for it (`register`); the kind and `name` mean the same in all
    processes of all deployments that share a Redis.
    """

    kind: str
    name: str


class Watching:
    """The topics that are waited for in this process, each with the functions that wake those who wait."""

    def __init__(self) -> None:
        self._looks: dict[str, Look] = {}
        self._lock = threading.Lock()
        self._waiting: dict[Topic, set[Wake]] = {}
        self._new: set[Topic] = set()
        self._looks_skipped = 0
        self._listener = redis_channel.Listener(CHANNEL, self._hear, what=WHAT)

    def register(self, kind: str, look: Look) -> None:
        """Have `look` find out which topics of a kind have happened. A kind has no colon in its name."""
        self._looks[kind] = look

    def watch(self, topics: Iterable[Topic], wake: Wake) -> None:
        """Call `wake`, on whatever thread, as soon as one of the topics has happened; perhaps again for another one."""
        self._listener.start()
        with self._lock:
            if not self._waiting:
                heartbeat.register("watching", LOOK_SECONDS, self.look)
            for topic in topics:
                if (wakes := self._waiting.get(topic)) is None:
                    wakes = self._waiting[topic] = set()
                wakes.add(wake)
                self._new.add(topic)  # it may have happened, and been told, before it was waited for

    def forget(self, topics: Iterable[Topic], wake: Wake) -> None:
        with self._lock:
            for topic in topics:
                if (wakes := self._waiting.get(topic)) is None:
                    continue
                wakes.discard(wake)
                if not wakes:
                    del self._waiting[topic]
                    self._new.discard(topic)
            if not self._waiting:
                heartbeat.unregister("watching")

    def tell(self, topic: Topic) -> None:
        """Something has happened. Call this after the transaction; it waits for nothing."""
        self._wake([topic])
        redis_channel.publish_soon(CHANNEL, f"{topic.kind}:{topic.name}", what=WHAT)

    def look(self) -> None:
        """Looks for the topics that are waited for, by one query for MOST_NAMES of a kind. The heartbeat calls this."""
        if waiting.database.is_away:
            return
        names: defaultdict[str, list[str]] = defaultdict(list)
        for topic in self._topics_to_look_for():
            names[topic.kind].append(topic.name)
        for kind, of_kind in names.items():
            for start in range(0, len(of_kind), MOST_NAMES):
                happened = self._looks[kind](of_kind[start : start + MOST_NAMES])
                self._wake(Topic(kind, name) for name in happened)

    def _topics_to_look_for(self) -> list[Topic]:
        with self._lock:
            if self._listener.is_listening() and self._looks_skipped < LOOKS_WITH_REDIS - 1:
                self._looks_skipped += 1
                topics = list(self._new)
            else:
                self._looks_skipped = 0
                topics = list(self._waiting)
            self._new.clear()
            return topics

    def _hear(self, message: str) -> None:
        """What another process tells."""
        self._wake([Topic(*message.split(":", 1))])

    def _wake(self, topics: Iterable[Topic]) -> None:
        with self._lock:
            wakes = [wake for topic in topics for wake in self._waiting.get(topic, ())]
        for wake in wakes:
            wake()


_watching = Watching()
register = _watching.register
watch = _watching.watch
forget = _watching.forget
tell = _watching.tell
