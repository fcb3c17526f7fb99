"""What `/metrics` answers: what all processes of this machine have recorded, and the figures of the database."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bedrock_chat.metrics import figures, instruments, slots
from bedrock_chat.metrics.instruments import Metric

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family


def answer(folder: str, accept: str) -> tuple[bytes, str]:
    """The body, in the format that the client prefers (`accept`), and its Content-Type."""
    from prometheus_client import CollectorRegistry  # noqa: PLC0415  with METRICS_TOKEN alone
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    instruments.sample()
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(folder))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collected:
    """As `prometheus_client` wants to be given metrics."""

    def __init__(self, folder: str) -> None:
        self._folder = folder

    def collect(self) -> "Iterator[Family]":
        """Every metric that this version knows, with its series, if it has any.

        The files may hold others, of an earlier version.
        """
        recorded = _recorded(self._folder)
        read = figures.read()
        for name, metric in sorted(instruments.known().items()):
            family = _family(metric)
            if isinstance(metric, instruments.Figure):
                for values, reading in read.get(metric, {}).items():
                    family.add_sample(name, dict(zip(metric.labels, values, strict=True)), reading)
            elif (merged := recorded.get(family.name)) is not None:
                family.samples = [sample for sample in merged.samples if _is_of(metric, sample.labels)]
            yield family


def _recorded(folder: str) -> "dict[str, Family]":
    """Name → the metric as it is in the files, all processes together."""
    from prometheus_client.multiprocess import MultiProcessCollector  # noqa: PLC0415  with METRICS_TOKEN alone

    merged: Any = MultiProcessCollector.merge(slots.files(folder))  # type: ignore[no-untyped-call]
    return {family.name: family for family in merged}


def _family(metric: Metric) -> "Family":
    from prometheus_client.metrics_core import Metric as Family  # noqa: PLC0415  with METRICS_TOKEN alone

    name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
    return Family(name, metric.meaning, metric.kind)


def _is_of(metric: Metric, labels: dict[str, str]) -> bool:
    """Whether a series has the labels that the metric has in this version."""
    return set(labels) - {"le"} == set(metric.labels)
