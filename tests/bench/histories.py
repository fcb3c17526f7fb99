"""`python -m tests.bench.histories`: what opening a long conversation with images costs, as one JSON document.

Opens 2,000 messages without files, then with an image in every question: as in the contract (bodies inline), and by
reference. Then fetches the addresses of the first images. docs/PERFORMANCE.md says how to read it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from tests.bench import load
from tests.bench.processes import LOAD_CORE, ROOT, SERVER_CORE, Process, environment, manage, ready

FULL = {"exchanges": 1_000, "sizes": [10_000, 100_000], "requests": 20, "files": 500}
QUICK = {"exchanges": 20, "sizes": [10_000], "requests": 3, "files": 10}

FILL = """
import django; django.setup()
import os, sys
from bedrock_chat.blobs import storing
from bedrock_chat.identity import local
from conversations.models import Message
from tests import build
exchanges, size = map(int, sys.argv[1:])
conversation = build.long_conversation(local.local_user("alice"), exchanges, f"images-{size}")
if size:
    questions = list(Message.objects.filter(conversation=conversation, role="user"))
    for question in questions:
        body = os.urandom(size)
        sha256 = storing.digest(body)
        storing.store({sha256: body})
        storing.refer("conversation", conversation.pk, [sha256])
        question.content.append({"contentType": "image", "mediaType": "image/png", "blob": sha256})
    Message.objects.bulk_update(questions, ["content"], batch_size=100)
"""


def measure(server: Process, requests: int, paths: list[str], token: str) -> dict[str, Any]:
    """Requests the paths in turn, one after the other. Returns what a request costs and the first answer's size."""
    sizes: list[int] = []
    send = lambda c, n: sizes.append(c.request("GET", paths[n % len(paths)], token=token))  # noqa: E731
    before = server.cpu
    latencies = load.run(server.url, 1, requests, send)
    cpu = (server.cpu - before) / requests * 1000
    return {
        "cpuMs": round(cpu, 2),
        "p50Ms": round(load.percentile(latencies, 0.5), 2),
        "p95Ms": round(load.percentile(latencies, 0.95), 2),
        "bytes": sizes[0],
    }


def addresses(server: Process, conversation: str, token: str) -> list[str]:
    """Paths of the images on this server, from the addresses in the conversation."""
    request = urllib.request.Request(
        f"{server.url}/conversation/{conversation}?blobs=reference", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request) as response:
        messages = json.load(response)["messageMap"].values()
    urls = [block["url"] for message in messages for block in message["content"] if "url" in block]
    return ["/" + url.split("/", 3)[3] for url in urls]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes: whether it runs, not how fast")
    size: dict[str, Any] = QUICK if parser.parse_args().quick else FULL
    os.sched_setaffinity(0, LOAD_CORE)
    with tempfile.TemporaryDirectory(prefix="bedrock-chat-bench-") as folder:
        env = environment(Path(folder))
        manage(env, "migrate", "--verbosity", "0")
        token = manage(env, "issue_token", "alice")
        for image_bytes in (0, *size["sizes"]):
            print(f"writing {size['exchanges']} images of {image_bytes} bytes", file=sys.stderr, flush=True)
            command = [sys.executable, "-c", FILL, str(size["exchanges"]), str(image_bytes)]
            django_environment = {**env, "DJANGO_SETTINGS_MODULE": "bedrock_chat.settings"}
            subprocess.run(command, cwd=ROOT, env=django_environment, check=True)
        with Process("manage.py", "serve", core=SERVER_CORE, environment=env) as server:
            ready(server.url)
            figures: dict[str, Any] = {"messages": size["exchanges"] * 2}
            measure(server, 5, ["/conversation/images-0"], token)  # warm
            figures["text"] = measure(server, size["requests"], ["/conversation/images-0"], token)
            for image_bytes in size["sizes"]:
                name = f"images-{image_bytes}"
                reference = measure(server, size["requests"], [f"/conversation/{name}?blobs=reference"], token)
                reference["cpuRatioToText"] = round(reference["cpuMs"] / max(figures["text"]["cpuMs"], 0.01), 2)
                figures[name] = {
                    "inline": measure(server, max(3, size["requests"] // 4), [f"/conversation/{name}"], token),
                    "reference": reference,
                    "file": measure(server, size["files"], addresses(server, name, token), ""),
                }
    print(json.dumps(figures, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
