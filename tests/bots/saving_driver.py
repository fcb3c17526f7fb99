"""Saves bots in child processes that kill themselves with SIGKILL: before each SQL statement, and before each file that
is opened, renamed or deleted in storage.

`test_saving_crash` starts this program on its own database and folder, with the uploads there already, and says where
children die. It prints the number of steps of each way to save a bot that does not die.
"""

import hashlib
import io
import json
import os
import signal
import sys
import zipfile

import django

django.setup()

from django.core.files.storage import default_storage  # noqa: E402
from django.db import connection  # noqa: E402

from bedrock_chat.identity.caller import CREATING_BOT_ALLOWED, Caller  # noqa: E402
from bots import editing  # noqa: E402
from bots.transfer import importing  # noqa: E402

STEPS_ON_DISK = ("open", "os.rename", "os.remove", "os.scandir", "os.mkdir")


def save(user: str, way: str, bot_id: str, last_step: int | None) -> int:
    """Makes or changes a bot, and kills this process before a step. Returns the number of steps."""
    steps = 0
    folder = default_storage.path("")

    def step():
        nonlocal steps
        if steps == last_step:
            os.kill(os.getpid(), signal.SIGKILL)
        steps += 1

    def before_statement(execute, sql, params, many, context):
        step()
        return execute(sql, params, many, context)

    def before_file(event, arguments):
        if event in STEPS_ON_DISK and arguments and str(arguments[0]).startswith(folder):
            step()

    sys.addaudithook(before_file)
    actor = Caller(user_id=user, groups=frozenset({CREATING_BOT_ALLOWED}))
    with connection.execute_wrapper(before_statement):
        if way == "import":
            entry = {"filename": "a.txt", "digest": hashlib.sha256(bot_id.encode()).hexdigest(), "size": len(bot_id)}
            sent = {"title": bot_id, "instruction": "i", "files": [entry]}
            with io.BytesIO() as file:
                with zipfile.ZipFile(file, "w") as archive:
                    archive.writestr("bot.json", json.dumps({"schema": "bedrock-chat-bot", "version": 1, "bot": sent}))
                    archive.writestr(f"files/{entry['digest']}", bot_id)
                importing.create(file, actor=actor)
        elif way == "create":
            knowledge = {"filenames": ["a.txt"]}
            editing.create(bot_id, {"title": "t", "instruction": "i", "knowledge": knowledge}, actor=actor)
        else:
            knowledge = {"added_filenames": ["a.txt"]}
            editing.modify(bot_id, {"knowledge": knowledge}, actor=actor)
    return steps


def child(user: str, way: str, bot_id: str, last_step: int | None) -> int:
    """Saves a bot in a forked child. Returns how many steps it came, or where it died."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, str(save(user, way, bot_id, last_step)).encode())
        os._exit(0)
    os.close(writing)
    status = os.waitpid(pid, 0)[1]
    line = os.read(reading, 20)
    os.close(reading)
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == 0
    return int(line) if line else int(last_step or 0)


def main() -> None:
    user, wanted = sys.argv[1], json.loads(sys.argv[2])
    print(json.dumps([child(user, *arguments) for arguments in wanted]))


main()
