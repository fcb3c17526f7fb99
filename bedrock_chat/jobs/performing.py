"""Has a claimed job done on the calling thread, and records how it ended."""

import logging
import time
from collections.abc import Callable

from django.db import transaction

from bedrock_chat.jobs import backlog, queue
from bedrock_chat.jobs.queue import Claimed, LeaseLost
from bedrock_chat.tracing import spans

logger = logging.getLogger(__name__)


def perform(job: Claimed, handler: Callable[[Claimed], object] | None = None) -> None:
    """Runs the handler of a job, by default the one that JOBS names, and raises nothing.

    The handler may finish the job together with its result; otherwise it is finished here. A failure is logged and
    recorded, so that the job is tried again.
    """
    started, outcome = time.monotonic(), "done"
    try:
        with spans.span("job", {"bedrock_chat.job.kind": job.kind, "bedrock_chat.job.attempt": job.attempt}):
            (handler or queue.handler_of(job.kind))(job)
            if not job.finished:
                with transaction.atomic():
                    job.finish()
        level = logging.DEBUG if job.key in queue.schedule() else logging.INFO  # one of those ends every 2 s
        logger.log(level, "job %s %d done in %.3f s", job.kind, job.pk, time.monotonic() - started)
    except LeaseLost:
        outcome = "lost"
        logger.warning("job %s %d was taken over by somebody else", job.kind, job.pk)
    except Exception as error:
        outcome = "failed"
        logger.exception("job %s %d failed, attempt %d", job.kind, job.pk, job.attempt)
        _record_failure(job, error)
    finally:
        backlog.measure(job.kind, outcome, time.monotonic() - started)


def _record_failure(job: Claimed, error: Exception) -> None:
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    try:
        queue.fail(job, reason)
    except Exception:
        logger.exception("the failure of job %s %d could not be written; its lease will run out", job.kind, job.pk)
