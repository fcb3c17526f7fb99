"""Chat completions of a published API beside turns of the main API, in rounds that take turns: whole, and streamed."""

import json
import statistics
from collections.abc import Callable
from typing import Any

from tests.bench import load
from tests.bench.processes import Process
from tests.bench.subjects import DELTAS, deltas, question

CONNECTIONS = 16
PATH = "/published/helper/api/v1/chat/completions"
CHAT: dict[str, Any] = {"model": "claude-v3.7-sonnet", "messages": [{"role": "user", "content": "message"}]}
WHOLE, STREAMED = (json.dumps({**CHAT, "stream": stream}).encode() for stream in (False, True))


def costs(server: Process, bedrock: str, token: str, key: str, requests: int, rounds: int) -> dict[str, Any]:
    """CPU of the server for each kind of request. The ratios are taken round by round."""

    def streamed(connection: load.Connection, path: str, body: bytes, credential: str, end: bytes) -> None:
        events = connection.stream(path, body, credential)
        if end not in events:
            raise RuntimeError(f"a stream was not whole: {events[-200:]!r}")

    legs: dict[str, Callable[[load.Connection, str], object]] = {
        "turn": lambda c, name: c.request("POST", "/conversation", question(name), token),
        "completion": lambda c, _: c.request("POST", PATH, WHOLE, key),
        "turnStream": lambda c, name: streamed(c, "/conversation", question(name), token, b"event: message_stop\n"),
        "completionStream": lambda c, _: streamed(c, PATH, STREAMED, key, b"data: [DONE]\n\n"),
    }
    cpu: dict[str, list[float]] = {name: [] for name in legs}
    latencies: dict[str, list[float]] = {name: [] for name in legs}
    for number in range(rounds + 1):
        # In every second round the other order, so that what grows from leg to leg favours none.
        for name in list(legs)[:: 1 if number % 2 else -1]:
            with deltas(bedrock, DELTAS if name.endswith("Stream") else 1):
                before = server.cpu
                took = load.run(
                    server.url,
                    CONNECTIONS,
                    requests,
                    lambda c, n: legs[name](c, f"{name}-{number}-{n}"),  # noqa: B023  it is over before the next one
                )
                if number:  # the first round loads what is loaded once
                    cpu[name].append((server.cpu - before) / requests * 1000)
                    latencies[name] += took
    figures: dict[str, Any] = {
        name: {
            "cpuMs": round(statistics.median(cpu[name]), 3),
            "p50Ms": round(statistics.median(latencies[name]), 1),
            "p95Ms": round(load.percentile(sorted(latencies[name]), 0.95), 1),
        }
        for name in legs
    }
    for name, beside in (("completion", "turn"), ("completionStream", "turnStream")):
        ratios = [ours / theirs for ours, theirs in zip(cpu[name], cpu[beside], strict=True)]
        figures[name]["ratioToTurn"] = round(statistics.median(ratios), 2)
    return figures
