"""The product's settings, with jobs for tests to watch."""

import os

from bedrock_chat.settings import *  # noqa: F403

JOBS = {
    "note": "tests.jobs.handlers.note",
    "fail": "tests.jobs.handlers.fail",
    "stamp": "tests.jobs.handlers.stamp",
    "tick": "tests.jobs.handlers.tick",
}
JOB_SCHEDULE: dict[str, float] = {}
if os.environ.get("OLDER"):
    del JOBS["stamp"]  # a kind that came with a later version
if os.environ.get("TICKS"):
    JOB_SCHEDULE["tick"] = 1
if os.environ.get("SHARED"):
    JOB_SHARES = {"note": 0.34}
