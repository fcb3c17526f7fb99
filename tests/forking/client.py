"""`Popen` and `run` of `subprocess`, for commands of the product that tests run by the dozen.

The first start with an environment is a real one. Later ones are copies of a process that has made its imports (see
`tests.forking.server`). They are children of this process like any other: they have their own descriptors, session,
environment and exit status, and may be killed.

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
NEVER_COPIED = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables with which libraries are told something before they are imported: with them, each start is a real one."""

_lock = threading.Lock()
_servers: dict[tuple[object, ...], "_Server"] = {}
_starts = Counter[tuple[object, ...]]()


class _Server:
    """The process that copies itself, for one kind of environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.forking.server", str(theirs.fileno())]
        with theirs:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )

    def start(self, request: dict[str, Any], descriptors: list[int]) -> int | None:
        """Has a copy run the request. Returns its process id, or None where the environment allows no start."""
        libc = ctypes.CDLL(None, use_errno=True)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        try:
            socket.send_fds(self._requests, [json.dumps(request).encode()], descriptors)
            answer = self._requests.recv(64)
        except (BrokenPipeError, ConnectionResetError):
            answer = b""
        finally:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        return int(answer) if answer else None

    def end(self) -> None:
        self._requests.close()
        self._process.wait()


@atexit.register
def _end_all() -> None:
    for server in _servers.values():
        server.end()


def _kind(environment: dict[str, str]) -> tuple[object, ...]:
    others = tuple(sorted(item for item in environment.items() if item[0].startswith(PREFIX)))
    engine = environment.get("DATABASE_URL", "").partition("://")[0].replace("sqlite", "")
    return (engine, others, *(environment.get(name, DEFAULTS.get(name, "")) for name in READ_BY_IMPORTS))


def _start(environment: dict[str, str], request: dict[str, Any], descriptors: list[int]) -> int | None:
    """None for the first start of its kind: to make a process for copies takes as long as one start."""
    kind = _kind(environment)
    _starts[kind] += 1
    if _starts[kind] == 1:
        return None
    if kind not in _servers:
        _servers[kind] = _Server(environment)
    return _servers[kind].start(request, descriptors)


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
        is_alike = not any(name in environment for name in NEVER_COPIED) and not arguments[1].startswith("-W")
        others = ("executable", "preexec_fn", "pass_fds", "shell", "gid", "gids", "uid")
        is_plain = options["close_fds"] and options["umask"] < 0 and not any(options[name] for name in others)
        is_ours = arguments[0] == sys.executable and str(options["cwd"]) == str(ROOT)
        if not (is_alike and is_plain and is_ours):
            return False
        request = {
            "arguments": [str(argument) for argument in arguments[1:]],
            "environment": environment,
            "parent": os.getpid(),
            "new_session": bool(options["start_new_session"]),
            "process_group": options["process_group"],
        }
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
