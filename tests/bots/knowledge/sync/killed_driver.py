"""Syncs in a process that kills itself with SIGKILL before an SQL statement of a slice, at random.

`test_killed` starts this program on its own database and folder, over and over. The first argument is a seed, the
second how many statements it lives for at most.
"""

import os
import random
import signal
import sys

import django

django.setup()

from django.db import connection  # noqa: E402

from bedrock_chat.database.connections import database_now  # noqa: E402
from bedrock_chat.jobs import performing, queue  # noqa: E402
from bedrock_chat.jobs.models import Job  # noqa: E402
from bots.knowledge import revisions  # noqa: E402
from bots.knowledge.models import Document  # noqa: E402


def main(seed: int, most: int) -> None:
    left = random.Random(seed).randrange(most)

    def before_statement(execute, sql, params, many, context):  # type: ignore[no-untyped-def]
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return execute(sql, params, many, context)

    # What the process before has left: its lease is over.
    Job.objects.filter(kind=revisions.KIND).update(due_at=database_now(), attempt=0)
    Document.objects.update(attempts=0)  # it is no document that ends this worker
    with connection.execute_wrapper(before_statement):
        while jobs := queue.claim(f"driver {seed}", 1, kind=revisions.KIND):
            for job in jobs:
                performing.perform(job)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
