"""`Popen` and `run` of `subprocess`, for commands of the product that tests run by the dozen.

The first start with an environment is a copy of a process that has imported libraries alone. Later ones are copies of
one that has imported the product with that environment (see `tests.forking.server`). They are children of this process
like any other: they have their own descriptors, session, environment and exit status, and may be killed.

Whatever a copy cannot have, for example limits set by a function before the start, makes a real start of it.
"""

import atexit
import ctypes
import inspect
import json
import os
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tests.forking.server import PRODUCT, ROOT

PR_SET_CHILD_SUBREAPER = 36
READ_BY_IMPORTS = (
    "CELERY_BROKER_URL",
    "CHECKPOINT_SECONDS",
    "CONSOLE_COLOR",
    "CONSOLE_LOGO",
    "DEBUG",
    "DJANGO_SETTINGS_MODULE",
    "JOB_LEASE_SECONDS",
    "LOCAL_IDENTITIES",
    "METRICS_TOKEN",
    "REDIS_URL",
    "TURN_LEASE_SECONDS",
)
"""Variables behind settings that imports read. A copy would start anew if one was missing here: only time is lost."""
DEFAULTS = {"DJANGO_SETTINGS_MODULE": PRODUCT}
"""Where a variable that is not set means another value than an empty one."""
PREFIX = "PYTHON"
"""Of variables that the interpreter reads."""
READ_BY_LIBRARIES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that libraries read as they are imported, which no process has imported that could be copied."""
PATIENCE_SECONDS = 90.0
"""A copy has its process id after a moment. Whatever holds one up for longer, a real start does without it."""

_lock = threading.Lock()
_bare: list["_Server"] = []
"""The process that has imported libraries alone, once there is one."""
_servers: dict[tuple[object, ...], "_Server"] = {}
_starts = Counter[tuple[object, ...]]()


class _Server:
    """A process that copies itself."""

    def __init__(self, *arguments: str, environment: dict[str, str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.forking.server", *arguments]
        with theirs:
            # It reads requests from what is its input.
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=theirs, stdout=subprocess.DEVNULL
            )

    def start(self, request: dict[str, Any], descriptors: list[int]) -> int | None:
        """Has a copy run the request. Returns its process id, or None where the environment allows no start."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            self._requests.settimeout(PATIENCE_SECONDS)
            socket.send_fds(self._requests, [json.dumps(request).encode()], descriptors)
            answer = self._requests.recv(64)
        except TimeoutError:
            self._requests.close()  # an answer that comes later would be taken for that of the next request
            answer = b""
        except OSError:
            answer = b""
        finally:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        return int(answer) if answer else None

    def end(self) -> None:
        self._requests.close()
        self._process.wait()


class _CopiedServer(_Server):
    """One that began as a copy itself."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(os.devnull, "wb") as nowhere:
            request = _request(["-m", "tests.forking.server"], environment)
            self._pid = _copy_bare(environment, request, [theirs.fileno(), nowhere.fileno(), 2])

    def end(self) -> None:
        self._requests.close()
        if self._pid is not None:
            os.waitpid(self._pid, 0)


@atexit.register
def _end_all() -> None:
    for server in [*_servers.values(), *_bare]:
        server.end()


def _of_interpreter(environment: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in environment.items() if item[0].startswith(PREFIX)))


def _kind(environment: dict[str, str]) -> tuple[object, ...]:
    engine = environment.get("DATABASE_URL", "").partition("://")[0].replace("sqlite", "")
    read = (environment.get(name, DEFAULTS.get(name, "")) for name in READ_BY_IMPORTS)
    return (engine, _of_interpreter(environment), *read)


def _start(environment: dict[str, str], request: dict[str, Any], descriptors: list[int]) -> int | None:
    """None where a real start is needed.

    A process with the product in it is made for the second start of a kind: to make one takes as long as a start.
    """
    kind = _kind(environment)
    _starts[kind] += 1
    if _starts[kind] == 1 or any(name in environment for name in READ_BY_LIBRARIES):
        return _copy_bare(environment, request, descriptors)
    if kind not in _servers:
        _servers[kind] = _CopiedServer(environment)
    return _servers[kind].start(request, descriptors)


def _copy_bare(environment: dict[str, str], request: dict[str, Any], descriptors: list[int]) -> int | None:
    if _of_interpreter(environment) != _of_interpreter(os.environ):
        return None
    if not _bare:
        _bare.append(_Server("bare", environment=dict(os.environ)))
    return _bare[0].start(request, descriptors)


def _request(arguments: Iterable[object], environment: dict[str, str], **options: Any) -> dict[str, Any]:
    """What `tests.forking.server.Start` is made of."""
    own = {"parent": os.getpid(), "new_session": False, "process_group": -1, **options}
    return {"arguments": list(map(str, arguments)), "environment": environment, **own}


PARAMETERS = (
    *("args", "executable", "preexec_fn", "close_fds", "pass_fds", "cwd", "env"),
    *("startupinfo", "creationflags", "shell"),
    *("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite", "restore_signals"),
    *("gid", "gids", "uid", "umask", "start_new_session", "process_group"),
)
"""Those of `subprocess.Popen._execute_child`, which is private: Python 3.11, 3.12 and 3.13 have these."""


def _is_known() -> bool:
    """Whether this Python's `Popen` is made as those that `Popen` below knows. With another one, each start is real."""
    method = getattr(subprocess.Popen, "_execute_child", None)
    has_parts = method is not None and hasattr(subprocess.Popen, "_close_pipe_fds")
    return has_parts and tuple(inspect.signature(method).parameters)[1:] == PARAMETERS


CAN_COPY = sys.platform == "linux" and _is_known()


class Popen(subprocess.Popen[Any]):
    """A command of Python in the repository's folder: `[sys.executable, "manage.py", ...]`, or with `-c` or `-m`.

    All of them may use Django. `-c` and `-m` need DJANGO_SETTINGS_MODULE in the environment, or set it first of all.
    """

    def _execute_child(self, *values: Any) -> None:
        """Instead of `fork` and `exec`."""
        if not (CAN_COPY and self._begins_as_copy(dict(zip(PARAMETERS, values, strict=True)))):
            super()._execute_child(*values)  # type: ignore[misc]

    def _begins_as_copy(self, options: dict[str, Any]) -> bool:
        """Has a copy run the command, where it can have all that the command shall have. Whether it does."""
        arguments, env = options["args"], options["env"]
        environment = {name: str(value) for name, value in (os.environ if env is None else env).items()}
        is_alike = not arguments[1].startswith("-W")
        others = ("executable", "preexec_fn", "pass_fds", "shell", "gid", "gids", "uid")
        is_plain = options["close_fds"] and options["umask"] < 0 and not any(options[name] for name in others)
        is_ours = arguments[0] == sys.executable and str(options["cwd"]) == str(ROOT)
        if not (is_alike and is_plain and is_ours):
            return False
        group = {"new_session": bool(options["start_new_session"]), "process_group": options["process_group"]}
        request = _request(arguments[1:], environment, **group)
        ends = [options[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        with _lock:
            pid = _start(environment, request, [own if own != -1 else number for number, own in enumerate(ends)])
        if pid is None:
            return False
        self.pid, self._child_created = pid, True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*[options[name] for name in pipes])  # type: ignore[attr-defined]
        return True


def run(
    command: list[str], *, check: bool = False, timeout: float | None = None, sent: str | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """`subprocess.run` with such a process; `sent` is its `input`."""
    if sent is not None:
        options["stdin"] = subprocess.PIPE
    if options.pop("capture_output", False):
        options |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with Popen(command, **options) as process:
        try:
            stdout, stderr = process.communicate(sent, timeout)
        except BaseException:
            process.kill()
            raise
    done = subprocess.CompletedProcess(command, process.returncode, stdout, stderr)
    if check:
        done.check_returncode()
    return done
