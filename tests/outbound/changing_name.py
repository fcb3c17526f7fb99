"""A program for a network of its own (`unshare --net --mount`), where 8.8.8.8 is this machine and DNS is its own too.

Prints as JSON what became of calls to names whose answers change, are mixed or never come.
"""

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

PUBLIC, PRIVATE = "8.8.8.8", "127.0.0.1"
ANSWERS: dict[str, list[list[str]]] = {
    "changing.example": [[PUBLIC], [PRIVATE]],
    "mixed.example": [[PUBLIC, PRIVATE]],
    "private.example": [[PRIVATE]],
    "hanging.example": [],
}


def serve_names(queries: list[str]) -> None:
    """Answers A with the next list of a name, AAAA with nothing, and for a name without lists not at all."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((PRIVATE, 53))

    def run() -> None:
        while True:
            query, peer = listener.recvfrom(512)
            labels, position = list[str](), 12
            while query[position]:
                labels.append(query[position + 1 : position + 1 + query[position]].decode())
                position += 1 + query[position]
            question, (kind,) = query[12 : position + 5], struct.unpack(">H", query[position + 1 : position + 3])
            name, addresses = ".".join(labels).lower(), list[str]()
            if kind == 1:
                queries.append(name)
                lists = ANSWERS.get(name, [[]])
                if not lists:
                    continue
                addresses = lists.pop(0) if len(lists) > 1 else lists[0]
            records = b"".join(
                b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 0, 4) + socket.inet_aton(address) for address in addresses
            )
            head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(addresses), 0, 0)
            listener.sendto(head + question + records, peer)

    threading.Thread(target=run, daemon=True).start()


def main() -> None:
    for command in ("ip link set lo up", f"ip address add {PUBLIC}/32 dev lo"):
        subprocess.run(command.split(), check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as configuration:
        configuration.write(f"nameserver {PRIVATE}\noptions timeout:30 attempts:1\n")
        configuration.flush()
        resolver = str(Path("/etc/resolv.conf").resolve())
        subprocess.run(["mount", "--bind", configuration.name, resolver], check=True)
        json.dump(outcomes(), sys.stdout)


def outcomes() -> dict[str, Any]:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "bedrock_chat.settings")
    from bedrock_chat.outbound.faults import OutboundFault
    from bedrock_chat.outbound.fetching import post_json
    from bedrock_chat.process.interruption import Interrupted, Interruption
    from tests.outbound.servers import Server, plain

    queries = list[str]()
    serve_names(queries)

    def outcome(name: str, interruption: Interruption | None = None, seconds: float = 20) -> str:
        deadline = time.monotonic() + seconds
        try:
            response = post_json(
                f"http://{name}/",
                {},
                credential_headers={},
                deadline=deadline,
                interruption=interruption or Interruption(),
            )
            return response.body.decode()
        except OutboundFault as fault:
            return fault.reason
        except Interrupted:
            return f"interrupted {deadline - time.monotonic() > 18}"

    stopped = Interruption()
    with (
        Server(plain(b"public"), host=PUBLIC, port=80),
        Server(plain(b"private"), host=PRIVATE, port=80) as private,
    ):
        results: dict[str, Any] = {"changing": [outcome("changing.example") for _ in range(2)]}
        results["queries"] = len(queries)
        results |= {name: outcome(f"{name}.example") for name in ("mixed", "private", "missing")}
        results["hanging"] = outcome("hanging.example", seconds=1)
        threading.Timer(0.3, stopped.request).start()
        results["stopped"] = outcome("hanging.example", stopped)
        results["private calls"] = len(private.requests)
    return results


if __name__ == "__main__":
    main()
