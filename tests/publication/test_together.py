"""Limits hold exactly, however many processes admit requests at once; a key ends in all of them at once."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, connections
from django.db.utils import OperationalError

from publication import limits
from publication.limits import Limits
from publication.models import Gate, Period

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

SLOW = bool(os.environ.get("SLOW"))
PROCESSES = 8
EACH = 200 if SLOW else 15
"""Requests that a process tries."""


def in_processes(call: Callable[[], Any]) -> list[Any]:
    """What `call` returns in each of PROCESSES forked processes, which begin together."""
    connections.close_all()
    if connection.vendor == "postgresql":
        connection.close_pool()  # a child makes its own
    ready, go = os.pipe()
    children: list[tuple[int, int]] = []
    for _ in range(PROCESSES):
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.close(go)
                os.read(ready, 1)
                os.write(writing, json.dumps(call()).encode())
                status = 0
            finally:
                os._exit(status)
        os.close(writing)
        children.append((pid, reading))
    os.close(ready)
    os.close(go)  # all read its end at once
    results = []
    for pid, reading in children:
        with os.fdopen(reading, "rb") as pipe:
            printed = pipe.read()
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        results.append(json.loads(printed))
    return results


def admitted(of: Limits, requests: int) -> int:
    count = 0
    for _ in range(requests):
        while True:
            try:
                count += limits.admit(of).refused_by is None
                break
            except OperationalError:  # SQLite's lock was busy for too long: a 503, which counts nothing
                continue
    return count


def account(**columns: Any) -> Limits:
    Gate.objects.create(account="k", publication_id="p")
    return Limits("k", "p", **{"rate": None, "burst": None, "quota": None, "period": None, **columns})


@pytest.mark.parametrize("share", [0.5, 2.0], ids=["more requests than quota", "fewer requests than quota"])
def test_never_one_more_than_the_quota(share: float) -> None:
    quota = int(PROCESSES * EACH * share)
    of = account(quota=quota, period=Period.MONTH)
    assert sum(in_processes(lambda: admitted(of, EACH))) == min(quota, PROCESSES * EACH)
    assert Gate.objects.get().used == min(quota, PROCESSES * EACH)


def test_tokens_are_those_of_the_bucket() -> None:
    rate, burst = 50.0, 100  # two seconds to be full, so it is not again before the test ends
    of = account(rate=rate, burst=burst)
    seconds = 3.0 if SLOW else 0.6

    def press() -> tuple[int, int, float, float, float]:
        begun = time.time()
        count, tried, first = admitted(of, 1), 1, time.time()
        while time.time() < begun + seconds:
            count += admitted(of, 1)
            tried += 1
        return count, tried, begun, first, time.time()

    counts, tries, begun, first, ended = zip(*in_processes(press), strict=True)
    total = sum(counts)
    assert total <= burst + rate * (max(ended) - min(begun)) + 1
    assert total >= min(burst, sum(tries)) - 1
    # Each admitted request has moved the throttle's time on by 1/rate, from the moment of the first one.
    began = Gate.objects.get().tat - total / rate
    assert min(begun) - 1 / rate <= began <= min(first) + 1 / rate


def test_what_is_given_back_is_exact_too() -> None:
    of = account(quota=PROCESSES * EACH, period=Period.MONTH)

    def take_and_return() -> int:
        kept = 0
        for number in range(EACH):
            standing = limits.admit(of)
            if number % 3 == 0:
                limits.give_back(of, standing)
            else:
                kept += 1
        return kept

    kept = sum(in_processes(take_and_return))
    assert Gate.objects.get().used == kept


def test_a_shared_scope_and_a_rotation_are_one_row_for_all() -> None:
    """Eight keys of one account, with a top-up in the middle."""
    of = account(quota=EACH, period=Period.DAY)
    assert sum(in_processes(lambda: admitted(of, EACH))) == EACH
    limits.top_up(of, 7)
    assert sum(in_processes(lambda: admitted(of, EACH))) == 7
