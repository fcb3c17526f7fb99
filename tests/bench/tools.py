"""`make bench-tools`: what rounds with tools cost against boto3's own `converse` of the same payload, and what tools
that hang cost everybody else.

One JSON document on stdout. The first half runs in this process, on one thread, against the emulator: a bot of eight
tools, results of 2 KB. The second half is a server whose agents hang for `TOOL_SECONDS`.
"""

import argparse
import contextlib
import itertools
import json
import os
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROUNDS = 10
TOOLS = 8
RESULT_CHARS = 2_000
TOOL_SECONDS = 5
FULL = {"turns": 60, "hanging": 100, "healthy": 120}
QUICK = {"turns": 3, "hanging": 4, "healthy": 6}
MODEL = "claude-v3.7-sonnet"


# ---- Rounds ---------------------------------------------------------------------------------------------------------


def rounds(emulator: Any, turns: int) -> dict[str, Any]:
    """CPU of each round of turns of ten, and of boto3 that sends the same requests."""
    import boto3
    from django.core.management import call_command

    from bedrock_chat.bedrock import catalog
    from bedrock_chat.bedrock.tools import ToolResult
    from bedrock_chat.identity import local
    from bedrock_chat.identity.caller import Caller
    from bots.content import Content as BotContent
    from bots.models import Bot
    from bots.tools import kinds, results
    from bots.tools.tool import TextPart, Tool
    from conversations.content.blocks import Content
    from conversations.turn import lifecycle
    from conversations.turn.types import ChatInput, Finished

    call_command("migrate", verbosity=0)
    schema: dict[str, Any] = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    result = results.of([TextPart("x" * RESULT_CHARS)])
    tools = [
        Tool(f"tool{n}", f"The tool {n}.", schema, "internet", True, "here", None, lambda value, context: result)
        for n in range(TOOLS)
    ]
    kinds.of_bot = lambda configuration: iter(tools)
    user = local.local_user("alice")
    configuration = BotContent().configuration
    Bot.objects.create(id="b", owner=user, title="t", instruction="i", configuration=configuration, **_moments())
    prompt = "[[then]]".join(f'[[tool:tool1:{{"query":"{n}"}}]]' for n in range(ROUNDS))
    actor = Caller(user_id=user.pk)

    def turn(number: int) -> list[float]:
        """CPU seconds of each call with what follows it, and at last of the answer."""
        chat = ChatInput(
            f"c{number}", catalog.find(MODEL), Content([{"contentType": "text", "body": prompt}], {}), bot_id="b"
        )
        ends = [time.process_time()]
        ends += (
            time.process_time()
            for event in lifecycle.run(chat, actor=actor)
            if isinstance(event, ToolResult | Finished)
        )
        return [after - before for before, after in itertools.pairwise(ends)]

    turn(0)
    bodies = [request["body"] for request in emulator.requests()]
    client = boto3.client(
        "bedrock-runtime", "us-east-1", endpoint_url=emulator.url, aws_access_key_id="x", aws_secret_access_key="x"
    )
    target = catalog.find(MODEL).bedrock_id

    def raw() -> list[float]:
        spent = []
        for body in bodies:
            before = time.process_time()
            client.converse(modelId=target, **body)
            spent.append(time.process_time() - before)
        return spent

    raw()
    ours: list[list[float]] = []
    floor: list[list[float]] = []
    for number in range(1, turns + 1):
        ours.append(turn(number))
        floor.append(raw())
    mine = [statistics.median(column) * 1000 for column in zip(*ours, strict=True)]
    theirs = [statistics.median(column) * 1000 for column in zip(*floor, strict=True)]
    middle = slice(1, ROUNDS)  # the first has the opening of the turn, the last its close
    return {
        "cpuMsOfRounds": [round(value, 2) for value in mine],
        "rawCpuMsOfRounds": [round(value, 2) for value in theirs],
        "cpuRatioToRaw": round(sum(mine[middle]) / sum(theirs[middle]), 2),
        "round10ToRound2BeyondPayload": round((mine[9] / mine[1]) / (theirs[9] / theirs[1]), 2),
    }


def _moments() -> dict[str, Any]:
    from django.utils import timezone

    now = timezone.now()
    return {"created_at": now, "updated_at": now}


# ---- Tools that hang ------------------------------------------------------------------------------------------------


def hanging(emulator: Any, folder: Path, size: dict[str, int]) -> dict[str, Any]:
    """What healthy turns and short requests take, first alone and then while many turns wait for tools that hang."""
    from tests.bench import load
    from tests.live import LiveServer

    with LiveServer(folder, emulator.url, TOOL_SECONDS=str(TOOL_SECONDS), DEBUG="true") as server:
        token = server.manage("issue_token", "alice", "--group", "CreatingBotAllowed")
        agent = {"toolType": "bedrock_agent", "name": "bedrock_agent", "description": "An agent."}
        for number in range(size["hanging"]):
            tool = {**agent, "bedrockAgentConfig": {"agentId": f"AGENT{number:05}", "aliasId": "ALIASALIAS"}}
            server.call("POST", "/bot", _bot(f"hang{number}", [tool]), token=token)

        def turn(conversation: str, text: str, **fields: Any) -> float:
            begun = time.monotonic()
            message = {"content": [{"contentType": "text", "body": text}], "model": MODEL}
            body = {"conversationId": conversation, "message": message, **fields}
            status, answer = server.call("POST", "/conversation", body, token=token)
            if status != 200:
                raise RuntimeError(f"{status} {answer}")
            return time.monotonic() - begun

        def healthy(name: str) -> dict[str, float]:
            turns, pages = [], []
            for number in range(size["healthy"]):
                turns.append(turn(f"{name}{number}", "hello") * 1000)
                begun = time.monotonic()
                for path in ("/health", "/conversations"):
                    if server.call("GET", path, token=token)[0] != 200:
                        raise RuntimeError(path)
                pages.append((time.monotonic() - begun) * 1000)
            return {
                "p95Ms": round(load.percentile(turns, 0.95), 1),
                "pagesP95Ms": round(load.percentile(pages, 0.95), 1),
            }

        healthy("warm")
        idle, before = healthy("idle"), _resident(server.process.pid)
        emulator.agents(troubles=[{"operation": "InvokeAgent", "wait": 600, "times": 10 * size["hanging"]}])
        prompt = '[[tool:bedrock_agent:{"query":"q"}]]'
        with ThreadPoolExecutor(size["hanging"]) as pool:
            futures = [
                pool.submit(turn, f"hang{number}", prompt, botId=f"hang{number}") for number in range(size["hanging"])
            ]
            time.sleep(1)
            peak = _Peak(server.process.pid)
            with peak:
                busy = healthy("busy")
                took = [future.result() for future in futures]
        with contextlib.closing(sqlite3.connect(folder / "bedrock-chat.sqlite3")) as database:
            [(longest,)] = database.execute("SELECT max(duration_ms) FROM bedrock_chat_toolcall")
        return {
            "idle": idle,
            "busy": busy,
            "p95Ratio": round(busy["p95Ms"] / idle["p95Ms"], 2),
            "longestCallSeconds": round(longest / 1000, 2),
            "longestTurnSeconds": round(max(took), 2),
            "mbPerTurn": round((peak.highest - before) / 2**20 / size["hanging"], 2),
        }


def _bot(bot_id: str, tools: list[dict[str, Any]]) -> dict[str, Any]:
    from tests.bots.bot import payload

    return payload(bot_id, agent={"tools": tools})


def _resident(pid: int) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


class _Peak:
    """The highest resident memory of a process during the block."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.highest = 0
        self._over = threading.Event()

    def __enter__(self) -> None:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.05):
            self.highest = max(self.highest, _resident(self._pid))


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench-tools")
    parser.add_argument("--quick", action="store_true", help="show that it works, with few turns")
    size = QUICK if parser.parse_args().quick else FULL
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-tools-") as name:
        folder = Path(name)
        os.environ |= {"DEBUG": "true", "DATA_DIR": str(folder / "own"), "LOG_LEVEL": "ERROR"}
        for variable in ("DATABASE_URL", "REDIS_URL"):
            os.environ.pop(variable, None)
        from tests.emulator import Emulator

        with Emulator() as emulator:
            os.environ["AWS_ENDPOINT_URL_BEDROCK_RUNTIME"] = emulator.url
            os.environ["DJANGO_SETTINGS_MODULE"] = "bedrock_chat.settings"
            import django

            django.setup()
            from tests.bench.goals import judged

            of_rounds = rounds(emulator, size["turns"])
            (folder / "server").mkdir()
            of_hanging = hanging(emulator, folder / "server", size)
    goals = [
        ("CPU of a round, stored, against boto3's", of_rounds["cpuRatioToRaw"], "<=", 1.5),
        ("round 10 against round 2, beyond the payload", of_rounds["round10ToRound2BeyondPayload"], "<=", 1.3),
        ("p95 of healthy turns beside hanging tools, against idle", of_hanging["p95Ratio"], "<=", 1.25),
        ("the longest hanging call, seconds", of_hanging["longestCallSeconds"], "<=", TOOL_SECONDS + 1),
        ("memory of a hanging turn, MB", of_hanging["mbPerTurn"], "<=", 1),
    ]
    figures = {"rounds": of_rounds, "hanging": of_hanging, "goals": judged(goals)}
    json.dump(figures, sys.stdout, indent=2)
    print()


main()
