"""Workers that are killed, stopped, woken and sent home: every job takes effect exactly once."""

import os
import signal
import time

import pytest

from tests.jobs.conftest import Workshop

pytestmark = pytest.mark.both

SLOW = bool(os.environ.get("SLOW"))
JOBS = 120
LEASE = 2.0  # seconds, of the workers here


def test_every_job_takes_effect_once_though_a_worker_is_killed_and_one_sleeps_past_its_leases(
    workshop: Workshop,
) -> None:
    workshop.enqueue(JOBS, seconds=0.4)
    doomed, sleepy = workshop.work("--concurrency", "12"), workshop.work("--concurrency", "12")
    workshop.until(lambda: len(workshop.effects()) >= 20)
    doomed.kill()
    workshop.stop(sleepy)
    third = workshop.work("--concurrency", "12")
    time.sleep(LEASE + 1)
    sleepy.send_signal(signal.SIGCONT)
    workshop.until(lambda: workshop.left() == 0)
    time.sleep(1)  # late writes of the stopped worker are refused
    assert workshop.effects() == list(range(JOBS))
    for worker in (sleepy, third):
        worker.terminate()
        assert worker.wait(20) == 0


@pytest.mark.slow
def test_five_rounds_of_killing_and_stopping_lose_and_double_nothing(workshop: Workshop) -> None:
    workshop.enqueue(1000, seconds=0.2)
    for number in range(5):
        killed, stopped = workshop.work("--concurrency", "16"), workshop.work("--concurrency", "16")
        time.sleep(1 + 0.3 * number)
        killed.kill()
        workshop.stop(stopped)
    for worker in workshop.workers:
        if worker.poll() is None:
            worker.send_signal(signal.SIGCONT)
    workshop.until(lambda: workshop.left() == 0, seconds=120)
    time.sleep(1)
    assert workshop.effects() == list(range(1000))


def test_a_worker_that_is_told_to_end_finishes_what_it_runs_and_takes_nothing_new(workshop: Workshop) -> None:
    workshop.enqueue(10, seconds=1)
    worker = workshop.work("--concurrency", "4")
    workshop.until(lambda: workshop.sql("SELECT count(*) FROM bedrock_chat_job WHERE state = 'running'")[0][0] == 4)
    worker.terminate()
    assert worker.wait(20) == 0
    done = workshop.effects()
    assert len(done) == 4
    assert workshop.left() == 6
    assert workshop.sql("SELECT count(*) FROM bedrock_chat_job WHERE state <> 'ready'") == [(0,)]
    assert workshop.sql("SELECT count(*) FROM bedrock_chat_worker") == [(0,)]


def test_what_outlasts_the_grace_is_given_back_at_once(workshop: Workshop) -> None:
    workshop.enqueue(1, seconds=30)
    worker = workshop.work(SHUTDOWN_GRACE="0.5", JOB_LEASE_SECONDS="60")
    workshop.until(lambda: workshop.sql("SELECT count(*) FROM bedrock_chat_job WHERE state = 'running'")[0][0] == 1)
    begun = time.monotonic()
    worker.terminate()
    assert worker.wait(10) == 0
    assert time.monotonic() - begun < 5
    assert workshop.sql("SELECT state, attempt FROM bedrock_chat_job") == [("ready", 0)]


def test_a_job_that_fails_is_tried_again_and_keeps_nothing_of_it(workshop: Workshop) -> None:
    workshop.run("queue.enqueue('fail')")
    workshop.work()
    workshop.until(lambda: workshop.sql("SELECT reason FROM bedrock_chat_job") != [("",)])
    ((state, attempt, reason),) = workshop.sql("SELECT state, attempt, reason FROM bedrock_chat_job")
    assert (state, attempt) == ("ready", 1)
    assert reason == "RuntimeError: it was not to be"
    assert workshop.effects() == []


def test_an_idle_worker_begins_at_once_and_at_its_time(workshop: Workshop) -> None:
    workshop.work()
    workshop.run("queue.enqueue('note', {'number': 1})")
    workshop.until(lambda: workshop.effects() == [1], seconds=5)
    workshop.run("queue.enqueue('note', {'number': 2}, delay=4)")  # longer than a busy machine ends a process
    assert workshop.effects() == [1]
    workshop.until(lambda: workshop.effects() == [1, 2], seconds=10)


def test_a_rolled_back_request_asks_for_nothing(workshop: Workshop) -> None:
    workshop.run(
        "try:\n    with transaction.atomic():\n        queue.enqueue('note', {'number': 1})\n        raise ValueError\n"
        "except ValueError:\n    pass"
    )
    assert workshop.left() == 0


def test_a_worker_is_seen_while_it_is_there(workshop: Workshop) -> None:
    workshop.work("--concurrency", "3")
    assert workshop.sql("SELECT concurrency FROM bedrock_chat_worker") == [(3,)]
    assert workshop.run("from bedrock_chat.jobs import backlog; print(backlog.look().workers)") == "1"


@pytest.mark.slow
def test_a_worker_that_finds_the_database_locked_begins_when_it_is_free(workshop: Workshop) -> None:
    with workshop.locked():
        late, stopped = (workshop.begin_to_work(DATABASE_TIMEOUT="0.2") for _ in range(2))
        workshop.until(lambda: workshop.log.read_text().count("cannot begin for now") >= 2)
        stopped.terminate()
        assert stopped.wait(40) == 0
    assert late.stdout is not None
    assert "Working" in late.stdout.readline()


def test_a_second_signal_means_now(workshop: Workshop) -> None:
    workshop.enqueue(1, seconds=30)
    worker = workshop.work(SHUTDOWN_GRACE="60")
    workshop.until(lambda: workshop.sql("SELECT count(*) FROM bedrock_chat_job WHERE state = 'running'")[0][0] == 1)
    worker.terminate()
    time.sleep(0.3)
    assert worker.poll() is None
    worker.terminate()
    assert worker.wait(20) == 1


SIGNALLED = """
import os, signal, threading, time
from bedrock_chat.jobs.worker import JobRunner
worker, handled = JobRunner(1), 0

def stop(number, frame):
    global handled
    worker.stop()
    handled += 1

def send():
    for sent in range(1, 1_000_000):
        os.kill(os.getpid(), signal.SIGTERM)
        end = time.monotonic() + 5
        while handled < sent:
            if time.monotonic() > end:
                os._exit(3)  # the handler waits for a lock of its own thread
            time.sleep(0.00005)

signal.signal(signal.SIGTERM, stop)
threading.Thread(target=send, daemon=True).start()
begun = time.monotonic()
while time.monotonic() < begun + (2 if handled > 100 else 60):  # a busy machine takes longer
    worker._changed.clear()
    worker._changed.wait(0)
print(handled > 100, flush=True)
os._exit(0)
"""


def test_a_signal_may_come_at_any_moment(workshop: Workshop) -> None:
    assert workshop.run(SIGNALLED) == "True"


def test_a_worker_ends_with_its_parent(workshop: Workshop) -> None:
    code = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, 'manage.py', 'run_worker', '--exit-with-parent'],"
        " stdout=subprocess.PIPE, text=True)\nchild.stdout.readline()\nprint(child.pid)"
    )
    pid = int(workshop.run(code))
    workshop.until(lambda: not _lives(pid), seconds=15)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[0] != "Z"
