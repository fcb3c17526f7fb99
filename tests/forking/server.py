"""A process that has loaded the product, and that makes copies of itself. Each copy runs one command.

`python -m tests.forking.server` serves the socket that is its input. `tests.forking.client` starts it, with the
environment of the first command, and says what a copy shall run. With the argument `bare` it loads no more than the
libraries that read no settings: half of a start, whatever the environment.

A start spends its time on imports. A copy has them, and reads the settings anew from its own environment. What the
imports have read of the settings cannot be read anew: a copy for which such a setting differs starts Python as usual.
"""

import gc
import importlib
import json
import os
import runpy
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent.parent
LARGEST_REQUEST = 1 << 17
PRODUCT = "bedrock_chat.settings"
READ_ANEW = {"DATABASES", "LOGGING"}
"""Settings that imports read and that a copy may have otherwise: Django configures its logs once more, and finds out
where the database is as it first connects. The engine has to be the same.
"""
MADE_OF = {"UNFOLD": ("CONSOLE_COLOR", "CONSOLE_LOGO")}
"""Settings that cannot be compared, since they have functions → those that they are made of."""
LIBRARIES = (
    "boto3",
    "django.contrib.admin.decorators",
    "django.contrib.admin.views.main",
    "django.core.management",
    "django.db.backends.sqlite3.base",
    "django.test.signals",
    "django.views.generic",
    "drf_spectacular.utils",
    "rest_framework.compat",
    "rest_framework.serializers",
    "structlog",
    "ulid",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)
"""Of those that every start imports, the ones that take longest, and that can be imported before there are settings."""


@dataclass(frozen=True)
class Start:
    """What a copy shall run: `arguments` follow the interpreter's name. `parent` is the process that asks for it."""

    arguments: list[str]
    environment: dict[str, str]
    parent: int
    new_session: bool
    process_group: int


def warm_up(*, bare: bool) -> None:
    """Imports what servers, workers and commands import, and configures Django with this process's environment."""
    gc.disable()
    if bare:
        for name in LIBRARIES:
            importlib.import_module(name)
    else:
        _load_the_product()
    gc.freeze()
    gc.enable()


def _load_the_product() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", PRODUCT)
    import django

    django.setup()
    from django.urls import get_resolver

    import bedrock_chat.management.commands.run_worker
    import bedrock_chat.management.commands.serve  # noqa: F401

    assert get_resolver().url_patterns


def serve(requests: socket.socket) -> Start:
    """Makes a copy for each request, until the other side is gone. Returns in the copies alone.

    A copy becomes a child of the process that asks, which has made itself a subreaper (see `prctl(2)`): it is the child
    of a process in between, which ends. Then it sends its process id.
    """
    while True:
        content, descriptors, _, _ = socket.recv_fds(requests, LARGEST_REQUEST, 3)
        if not content:
            os._exit(0)
        assert threading.active_count() == 1  # a thread would not be in the copy, and its locks would stay locked
        start = Start(**json.loads(content))
        between = os.fork()
        if between == 0:
            if os.fork():
                os._exit(0)
            _await_parent(start.parent)
            requests.send(str(os.getpid()).encode())
            requests.detach()  # its descriptor is closed with all others
            _take_over(start, descriptors)
            return start
        os.waitpid(between, 0)
        for descriptor in descriptors:
            os.close(descriptor)


def _await_parent(parent: int) -> None:
    deadline = time.monotonic() + 30
    while os.getppid() != parent:
        if time.monotonic() > deadline:
            os._exit(1)
        time.sleep(0.001)


def _take_over(start: Start, descriptors: list[int]) -> None:
    """What the kernel and `subprocess` do at a real start."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    if start.new_session:
        os.setsid()
    if start.process_group >= 0:
        os.setpgid(0, start.process_group)
    os.environ.clear()
    os.environ.update(start.environment)


def run(start: Start) -> None:
    """Runs the command as the interpreter would: `manage.py ...`, `-m module ...` or `-c code ...`."""
    if not _configure():
        os.execve(sys.executable, [sys.executable, *start.arguments], start.environment)
    first, *rest = start.arguments
    if first == "-c":
        sys.argv = ["-c", *rest[1:]]
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(compile(rest[0], "<string>", "exec"), vars(main))
    elif first == "-m":
        sys.argv = rest
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    else:
        sys.argv = start.arguments
        runpy.run_path(first, run_name="__main__")


def _configure() -> bool:
    """Gives Django the settings of this environment. Whether no import has read a setting that is another now.

    Django's settings keep each one that was read in their `__dict__`.
    """
    from django.conf import Settings, settings
    from django.db import connections

    if not settings.configured:
        return True
    module = os.environ.get("DJANGO_SETTINGS_MODULE", PRODUCT)
    read = {part for name in vars(settings) if name != "_wrapped" for part in MADE_OF.get(name, (name,))}
    earlier = {name: getattr(settings, name) for name in read}
    try:
        for name in dict.fromkeys([PRODUCT, module]):
            importlib.reload(importlib.import_module(name))
        settings._wrapped = Settings(module)
    except Exception:
        return False
    for alias in list(connections):
        if hasattr(connections._connections, alias):  # type: ignore[attr-defined]
            del connections[alias]
    connections.__dict__.pop("settings", None)
    connections._settings = None  # type: ignore[attr-defined]
    is_same_engine = settings.DATABASES["default"]["ENGINE"] == earlier["DATABASES"]["default"]["ENGINE"]
    return is_same_engine and all(getattr(settings, name) == earlier[name] for name in read - READ_ANEW)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches it too, and ends whoever asks
    warm_up(bare="bare" in sys.argv)
    command = serve(socket.socket(fileno=os.dup(0)))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run(command)
