"""First turns of new conversations on each database, beside the floors of the same round."""

import statistics
from collections.abc import Callable, Iterable
from typing import Any

from tests.bench import load, subjects
from tests.bench.litellm_proxy import Proxy
from tests.bench.processes import Process
from tests.bench.progress import say
from tests.bench.subjects import Sample, Size, Subject

SHARES = (50, 95, 99)
LEGS: dict[str, Callable[[Subject, int], Sample]] = {
    "c1": lambda subject, number: subject.turn(number, 1),
    "c16": lambda subject, number: subject.turn(number, 16),
    "sseC16": lambda subject, number: subject.sse(number, 16),
}


class Floors:
    """What boto3 alone needs: `converse`, and `converse_stream` iterated. One value for each round."""

    def __init__(self, bedrock: str, whole: Process, streamed: Process) -> None:
        self._bedrock, self._whole, self._streamed = bedrock, whole, streamed
        self.whole_cpu: list[float] = []
        self.whole_wall: list[float] = []
        self.streamed_cpu: list[float] = []

    def measure(self, requests: int) -> None:
        """Makes so many calls of each kind. Raises RuntimeError if a delta is missing."""
        cpu, wall = floor(self._whole, requests, 1)
        self.whole_cpu.append(cpu)
        self.whole_wall.append(wall)
        with subjects.deltas(self._bedrock, subjects.DELTAS):
            cpu, _, received = self._streamed.measure(f"{requests} 1")
        if received != requests * subjects.DELTAS:
            raise RuntimeError(f"{received:.0f} deltas came in {requests} streams")
        self.streamed_cpu.append(cpu / requests * 1000)


def floor(raw: Process, requests: int, messages: int) -> tuple[float, float]:
    """CPU and wall ms of one raw `converse`."""
    cpu, wall = raw.measure(f"{requests} {messages}")
    return cpu / requests * 1000, wall / requests * 1000


def measure(servers: dict[str, Subject], floors: Floors, proxy: Proxy | None, size: Size) -> dict[str, Any]:
    """The figures of each database, of the floors (`raw`, `rawStream`), and of the proxy (`litellm`), if there is one.

    All of them take turns, round by round.
    """
    samples: dict[str, dict[str, list[Sample]]] = {name: {leg: [] for leg in LEGS} for name in servers}
    proxied: list[Sample] = []
    _warm_up(servers.values())
    for number in range(size.rounds):
        say(f"turns: round {number + 1} of {size.rounds}")
        floors.measure(size.requests)
        for database, subject in servers.items():
            for leg, send in LEGS.items():
                samples[database][leg].append(send(subject, number))
        if proxy is not None:
            proxied.append(proxy.sample(16, size.proxied))
    figures: dict[str, Any] = {
        "raw": {"cpuMs": median(floors.whole_cpu), "wallMs": median(floors.whole_wall)},
        "rawStream": {"cpuMs": median(floors.streamed_cpu)},
    }
    for database, subject in servers.items():
        legs = {leg: turn(rounds, floors.whole_cpu) for leg, rounds in samples[database].items()}
        legs["sseC16"]["cpuRatioToRawStream"] = _ratio(samples[database]["sseC16"], floors.streamed_cpu)
        if subject.backends is not None and subject.backends.reason:
            legs["backendCpu"] = {"skipped": subject.backends.reason}
        figures[database] = legs
    if proxied:
        ours = samples["sqlite"]["c16"]
        figures["litellm"] = {
            **turn(proxied, floors.whole_cpu),
            "oursPerSecondRatio": round(
                statistics.median(
                    sample.per_second / other.per_second for sample, other in zip(ours, proxied, strict=True)
                ),
                2,
            ),
        }
    return figures


def _warm_up(servers: Iterable[Subject]) -> None:
    for subject in servers:
        subject.sample(16, 64, lambda c, n: subject.ask(c, f"warm-{n}"))  # noqa: B023  called before the next one
        subject.sample(16, 64, lambda c, n: subject.listen(c, f"warm-sse-{n}"))  # noqa: B023


def turn(rounds: list[Sample], floors: list[float]) -> dict[str, Any]:
    """Medians over rounds; the ratio is taken round by round, against the floor measured beside it. Percentiles are
    those of all rounds together.
    """
    latencies = sorted(latency for sample in rounds for latency in sample.latencies)
    backend_cpu = [sample.backend_cpu for sample in rounds if sample.backend_cpu is not None]
    return {
        "cpuMs": median(sample.cpu for sample in rounds),
        **({"backendCpuMs": median(backend_cpu)} if backend_cpu else {}),
        "cpuRatioToRaw": _ratio(rounds, floors),
        "requestsPerSecond": round(statistics.median(sample.per_second for sample in rounds), 1),
        **percentiles(latencies),
        "p95OverP50": round(load.percentile(latencies, 0.95) / load.percentile(latencies, 0.5), 2),
    }


def _ratio(rounds: list[Sample], floors: list[float]) -> float:
    return round(statistics.median(sample.cpu / cpu for sample, cpu in zip(rounds, floors, strict=True)), 2)


def median(values: Iterable[float]) -> float:
    return round(statistics.median(values), 3)


def percentiles(latencies: list[float]) -> dict[str, float]:
    return {f"p{share}Ms": round(load.percentile(latencies, share / 100), 2) for share in SHARES}
