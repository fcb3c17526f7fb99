"""`Popen` and `run` of `subprocess`, for commands of the product that tests run by the dozen.

The first start with an environment is a real one. Later ones are copies of a process that has made its imports (see
`tests.forking.server`). They are children of this process like any other: they have their own descriptors, session,
environment and exit status, and may be killed.

Whatever a copy cannot have, for example limits set by a function before the start, makes a real start of it.
"""

import atexit
import ctypes
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


class Popen(subprocess.Popen[Any]):
    """A command of Python in the repository's folder: `[sys.executable, "manage.py", ...]`, or with `-c` or `-m`.

    All of them may use Django. `-c` and `-m` need DJANGO_SETTINGS_MODULE in the environment, or set it first of all.
    """

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, *rest: Any) -> None:
        """Instead of `fork` and `exec`. The arguments are those of Python 3.11 to 3.13."""
        pass_fds, cwd, env, _, _, shell, *pipes = rest[:12]
        umask, session, group = rest[16:19]
        environment = {name: str(value) for name, value in (os.environ if env is None else env).items()}
        is_alike = not any(name in environment for name in NEVER_COPIED) and not args[1].startswith("-W")
        is_plain = not (executable or preexec_fn or pass_fds or shell or any(rest[13:16]) or umask >= 0) and close_fds
        if sys.platform == "linux" and is_alike and is_plain and args[0] == sys.executable and str(cwd) == str(ROOT):
            request = {
                "arguments": [str(argument) for argument in args[1:]],
                "environment": environment,
                "parent": os.getpid(),
                "new_session": bool(session),
                "process_group": group,
            }
            to_read, _, _, to_write, _, to_err = pipes
            standard = [own if own != -1 else number for number, own in enumerate((to_read, to_write, to_err))]
            with _lock:
                pid = _start(environment, request, standard)
            if pid is not None:
                self.pid, self._child_created = pid, True
                self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]
                return
        super()._execute_child(args, executable, preexec_fn, close_fds, *rest)  # type: ignore[misc]


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
