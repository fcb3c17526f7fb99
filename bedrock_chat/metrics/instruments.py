"""The metrics that a process records: counters, histograms, and gauges that are read every few seconds.

A metric is made where its events are known, at the top of a module:

    TURNS = Counter("bedrock_chat_turns_total", "Turns that ended.", ("caller", "outcome"))
    TURNS.add("user", "answered")

Values of labels come from closed lists (a route's pattern, a model of the catalogue), never from a client. A metric
whose labels or buckets change gets another name: earlier values stay in the files of `slots`.
"""

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from bedrock_chat.metrics import slots

logger = logging.getLogger(__name__)

MOST_SERIES: Final = 2_000
"""Of one metric. A further combination of labels counts under OTHER."""
OTHER: Final = "other"

SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
"""Buckets for what people wait for at a request."""
LONG_SECONDS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0)
"""Buckets for what a model takes."""

Labels = tuple[str, ...]
Readings = Mapping[Labels, float]

_known: dict[str, "Metric"] = {}
_lock = threading.Lock()
_recording = False


class Metric:
    """A name, what it says, and the names of its labels. The name of a metric is unique, and ends with its unit."""

    kind: ClassVar[str]

    def __init__(self, name: str, meaning: str, labels: Labels = ()) -> None:
        assert name not in _known, name
        self.name, self.meaning, self.labels = name, meaning, labels
        _known[name] = self


class _Recorded(Metric):
    """A metric with a value for each combination of labels that has occurred: `prometheus_client`'s, once we record."""

    def __init__(self, name: str, meaning: str, labels: Labels = ()) -> None:
        super().__init__(name, meaning, labels)
        self._parent: Any = None
        self._series: dict[Labels, Any] = {}
        if _recording:
            self.begin()

    def begin(self) -> None:
        """From now on it is recorded."""
        self._parent = self._make()

    def _make(self) -> Any:
        raise NotImplementedError

    def _of(self, labels: Labels) -> Any:
        """The value of these labels, made when they first occur."""
        if len(self._series) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        with _lock:
            series = self._series.get(labels)
            if series is None:
                series = self._series[labels] = self._parent.labels(*labels) if labels else self._parent
        return series


class Counter(_Recorded):
    """How often, or how much. Its name ends in `_total`."""

    kind = "counter"

    def _make(self) -> Any:
        from prometheus_client import Counter as Recorded  # noqa: PLC0415  with METRICS_TOKEN alone

        return Recorded(self.name, self.meaning, self.labels, registry=None)

    def add(self, *labels: str, amount: float = 1.0) -> None:
        """Counts an event, or `amount`. Costs a microsecond where it is recorded, and nothing elsewhere."""
        if self._parent is not None:
            (self._series.get(labels) or self._of(labels)).inc(amount)


class Histogram(_Recorded):
    """How long things took, in seconds. `buckets` are upper limits."""

    kind = "histogram"

    def __init__(self, name: str, meaning: str, labels: Labels = (), *, buckets: tuple[float, ...] = SECONDS) -> None:
        self.buckets = buckets
        super().__init__(name, meaning, labels)

    def _make(self) -> Any:
        from prometheus_client import Histogram as Recorded  # noqa: PLC0415  with METRICS_TOKEN alone

        return Recorded(self.name, self.meaning, self.labels, registry=None, buckets=self.buckets)

    def observe(self, seconds: float, *labels: str) -> None:
        if self._parent is not None:
            (self._series.get(labels) or self._of(labels)).observe(seconds)


class Gauge(_Recorded):
    """How many there are in this process just now, which `read` tells. At a scrape, live processes are added up."""

    kind = "gauge"

    def __init__(
        self, name: str, meaning: str, labels: Labels = (), *, read: Callable[[], Readings | float] | None = None
    ) -> None:
        self.read = read
        super().__init__(name, meaning, labels)

    def _make(self) -> Any:
        from prometheus_client import Gauge as Recorded  # noqa: PLC0415  with METRICS_TOKEN alone

        return Recorded(self.name, self.meaning, self.labels, registry=None, multiprocess_mode="livesum")

    def sample(self) -> None:
        if self._parent is None or self.read is None:
            return
        readings = self.read()
        if not isinstance(readings, Mapping):
            readings = {(): readings}
        for labels in [known_labels for known_labels in list(self._series) if known_labels not in readings]:
            self._series[labels].set(0.0)
        for labels, reading in readings.items():
            self._of(labels).set(reading)


class Figure(Metric):
    """What the database tells at a scrape (`figures`)."""

    kind = "gauge"


def known() -> Mapping[str, Metric]:
    """Every metric whose module is loaded, by its name."""
    return dict(_known)


def recording() -> bool:
    """Whether this process records."""
    return _recording


def begin(folder: str) -> None:
    """Call this once, in a server or a worker. From now on this process records, into files of its own in `folder`."""
    global _recording  # noqa: PLW0603  of this process
    try:
        slots.take(folder)
    except OSError as error:  # a full disk must not keep anybody from reading
        logger.error("Nothing is counted for /metrics, since METRICS_DIR cannot be written: %s", error)  # noqa: TRY400
        return
    _recording = True
    for metric in list(_known.values()):
        if isinstance(metric, _Recorded):
            metric.begin()


def sample() -> None:
    """Reads all gauges of this process."""
    for metric in list(_known.values()):
        if isinstance(metric, Gauge):
            metric.sample()
