"""The pool of request threads by itself."""

import threading

from bedrock_chat.process.thread_pool import ThreadPool
from tests.serving.conftest import eventually


def test_jobs_beyond_the_limit_wait_for_a_thread_and_are_all_done() -> None:
    threads = ThreadPool(4)
    done: list[str] = []
    for _ in range(1000):
        threads.submit(lambda: done.append(threading.current_thread().name))
    assert eventually(lambda: len(done) == 1000)
    assert len(set(done)) <= 4
    assert eventually(lambda: threads.busy == 0)
    threads.stop()


def test_many_submitters_at_once_lose_no_job() -> None:
    threads = ThreadPool(8)
    done: list[int] = []

    def submit() -> None:
        for number in range(500):
            threads.submit(lambda number=number: done.append(number))

    submitters = [threading.Thread(target=submit) for _ in range(4)]
    for submitter in submitters:
        submitter.start()
    for submitter in submitters:
        submitter.join()
    assert eventually(lambda: len(done) == 2000)
    threads.stop()


def test_a_job_that_fails_costs_no_thread() -> None:
    threads = ThreadPool(1)
    done = threading.Event()

    def fail() -> None:
        raise SystemExit("a view called sys.exit()")

    threads.submit(fail)
    threads.submit(done.set)
    assert done.wait(5)
    assert threads.count == 1
    threads.stop()
    assert threads.count == 0


def test_a_job_after_the_stop_is_still_done() -> None:
    threads = ThreadPool(1)
    threads.stop()
    done = threading.Event()
    threads.submit(done.set)
    assert done.wait(5)
    assert eventually(lambda: threads.count == 0)
