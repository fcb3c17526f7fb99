"""Rotates in child processes that kill themselves with SIGKILL before their n-th statement, for every n.

`test_rotating` starts this program on its own database. It prints, as JSON, the secrets that each kill has left.
"""

import json
import os
import signal
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402

from bedrock_chat.encryption import encrypting, rotating  # noqa: E402
from bedrock_chat.identity.models import SigningKey  # noqa: E402
from tests.encryption import vault  # noqa: E402

rotating.AT_ONCE = 2
vault.register()


def rotate_until(statement: int) -> bool:
    """Whether a rotation in a process of its own ended before this statement."""
    child = os.fork()
    if child == 0:
        count = 0

        def before(execute: Any, *arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == statement:
                os.kill(os.getpid(), signal.SIGKILL)
            return execute(*arguments)

        with connection.execute_wrapper(before), open(os.devnull, "w") as nowhere:
            call_command("rotate_encryption", stdout=nowhere)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def texts() -> list[str]:
    tokens = list(SigningKey.objects.order_by("pk").values_list("private_key", flat=True))
    connection.close()  # a child must not inherit it
    return [encrypting.decrypt(token) for token in tokens]


left = []
for number in range(1, 200):
    ended = rotate_until(number)
    left.append(texts())
    if ended:
        break
connection.close()
print(json.dumps(left))
