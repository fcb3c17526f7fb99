"""The emulator's process: its options, its start and its end."""

import argparse
import asyncio
import os
import resource
import signal
import sys

from bedrock_chat.bedrock.emulator.server import listen
from bedrock_chat.bedrock.emulator.service import Bedrock

DESCRIPTORS = 16_384
PARENT_WATCH_SECONDS = 0.2


def add_options(parser: argparse.ArgumentParser, *, port: int = 8001) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    parser.add_argument(
        "--port", type=int, default=port, help=f"port to listen on, 0 for any free one (default {port})"
    )
    parser.add_argument(
        "--exit-with-parent",
        action="store_true",
        help="end when the process that started this one is gone, however it went; Ctrl-C is left to that process",
    )


def run(host: str, port: int, *, exit_with_parent: bool = False) -> int:
    """Serves until a signal ends the process. Returns the exit code 1 if it cannot listen on the address."""
    parent = os.getppid()
    _allow_descriptors()
    try:
        asyncio.run(_serve(host, port, parent if exit_with_parent else None))
    except OSError as error:
        print(f"The Bedrock emulator cannot listen on {host}:{port}: {error.strerror}.", file=sys.stderr)  # noqa: T201
        return 1
    return 0


async def _serve(host: str, port: int, parent: int | None) -> None:
    """Listens, prints the address, and ends with the process `parent` if that is set. Raises OSError."""
    loop = asyncio.get_running_loop()
    # Exit at once: no answer here needs to be finished, and a graceful shutdown would wait for open streams.
    loop.add_signal_handler(signal.SIGTERM, os._exit, 0)
    if parent is None:
        loop.add_signal_handler(signal.SIGINT, os._exit, 0)
    else:
        # Ctrl-C reaches the whole process group. The parent still has answers to finish, and they come from here.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = await listen(Bedrock(), host, port)
    address = server.sockets[0].getsockname()
    url_host = f"[{address[0]}]" if ":" in address[0] else address[0]
    print(f"Bedrock emulator on http://{url_host}:{address[1]}", flush=True)  # noqa: T201
    # PR_SET_PDEATHSIG signals at once, but when the thread that forked ends, perhaps long before its process does.
    while os.getppid() == parent:  # noqa: ASYNC110  a parent's end can only be polled
        await asyncio.sleep(PARENT_WATCH_SECONDS)
    if parent is not None:
        os._exit(0)
    await asyncio.Event().wait()


def _allow_descriptors() -> None:
    """Raises the soft limit of descriptors: it is usually 1,024, and a thousand connections need as many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))
