"""Makes key files in many processes at once (`together`), or in processes that kill themselves (`killed`).

Prints a JSON list: the keys that each process got, or what each kill left in the file (null: no file).
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django

django.setup()

from django.conf import settings  # noqa: E402

from bedrock_chat.encryption import key_file  # noqa: E402

PROCESSES = 8
STEPS = ("open", "fsync", "link", "unlink", "close", "write")


def together(folder: Path) -> list[str]:
    """The key that each of eight processes got, which all begin at the same moment."""
    settings.DATA_DIR = folder
    start, results = os.pipe(), os.pipe()
    children = []
    for _ in range(PROCESSES):
        child = os.fork()
        if child == 0:
            os.close(start[1])
            os.read(start[0], 1)  # until nobody can write there any more
            os.write(results[1], key_file.make().encode())
            os._exit(0)
        children.append(child)
    os.close(start[1])
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    os.close(results[1])
    made = os.read(results[0], 4096).decode()
    return [made[begin : begin + 44] for begin in range(0, len(made), 44)]


def killed(folder: Path) -> list[str | None]:
    """What a process leaves that dies before its n-th step, for every n; each in a folder of its own."""
    left: list[str | None] = []
    for number in range(100):
        settings.DATA_DIR = folder / f"killed-{number}"
        settings.DATA_DIR.mkdir()
        child = os.fork()
        if child == 0:
            die_before(number)
            key_file.make()
            os._exit(0)
        survived = os.waitpid(child, 0)[1] == 0
        key = key_file.read()
        left.append(key)
        assert key_file.make() == (key or key_file.read())
        if survived:
            return left
    raise AssertionError("there are fewer steps than that")


def die_before(number: int) -> None:
    """Ends this process when it is about to make this step (0: the first) of those that touch files."""
    steps = 0

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            nonlocal steps
            if steps == number:
                os.kill(os.getpid(), signal.SIGKILL)
            steps += 1
            return call(*arguments, **options)

        return step

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


if __name__ == "__main__":
    data_dir = Path(settings.DATA_DIR)
    if sys.argv[1] == "together":
        print(json.dumps([key for number in range(20) for key in together(data_dir / str(number))]))
    else:
        print(json.dumps(killed(data_dir)))
