"""Jobs whose effects a test can count."""

import time

from django.db import connection, transaction

from bedrock_chat.jobs import lines
from bedrock_chat.jobs.queue import Claimed


def _write(number: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO job_effects VALUES (%s)", [number])


def note(job: Claimed) -> None:
    """Works for a while, then writes its number and finishes, in one transaction. One with a party stands in line."""
    if "party" in job.payload and lines.stand(job, job.payload["party"]):
        return
    time.sleep(job.payload.get("seconds", 0))
    with transaction.atomic():
        _write(job.payload["number"])
        job.finish()


def fail(job: Claimed) -> None:
    with transaction.atomic():
        _write(-1)
        raise RuntimeError("it was not to be\nand this is nobody's business")


def stamp(job: Claimed) -> None:
    """Writes how many microseconds passed between the request for the job and its begin."""
    _write(int((time.time() - job.payload["asked"]) * 1e6))


def tick(job: Claimed) -> None:
    _write(job.attempt)
