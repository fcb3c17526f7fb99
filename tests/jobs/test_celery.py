"""Jobs whose workers are told of them by Celery: whatever becomes of the messages, each takes effect exactly once."""

import base64
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bedrock_chat.wire.ids import new_id
from tests import servers
from tests.bots import bot
from tests.jobs.brokers import Broker, needs_redis
from tests.jobs.conftest import Workshop
from tests.live import LiveServer

pytestmark = [pytest.mark.slow, needs_redis]

JOBS = 200 if os.environ.get("SOAK") else 20
LEASE = 2.0  # seconds, of the workers here

NO_TLS = json.dumps({"is_secure": False})
TELL = """
import time
from bedrock_chat.database import waiting
from bedrock_chat.jobs import broker
waiting.enforce(10)  # as a server does
begun = time.monotonic()
with transaction.atomic():
    for n in range({count}):
        queue.enqueue('note', {{'number': n, 'seconds': {seconds}}})
print(time.monotonic() - begun, flush=True)
end = time.monotonic() + 10
while not broker._sender._unsent.empty() and time.monotonic() < end:
    time.sleep(0.01)
time.sleep(0.3)  # for the last message
"""


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture
def shop(workshop: Workshop, broker: Broker) -> Iterator[Workshop]:
    workshop.environment["CELERY_BROKER_URL"] = broker.url
    workshop.celery = True
    yield workshop
    workshop.celery = False
    del workshop.environment["CELERY_BROKER_URL"]


def tell(shop: Workshop, count: int, seconds: float = 0.0) -> float:
    """Adds jobs as a server does, which sends a message for each. Returns how many seconds the request took."""
    return float(shop.run(TELL.format(count=count, seconds=seconds)))


def running(shop: Workshop) -> int:
    return int(shop.sql("SELECT count(*) FROM bedrock_chat_job WHERE state = 'running'")[0][0])


@pytest.mark.both
def test_every_job_takes_effect_once_though_workers_are_killed_and_stopped_and_the_broker_forgets(
    shop: Workshop, broker: Broker
) -> None:
    doomed, sleepy = (shop.begin_to_work("-c", "6") for _ in range(2))
    for worker in (doomed, sleepy):
        shop.wait_for(worker)
    tell(shop, JOBS, seconds=0.4)
    shop.until(lambda: len(shop.effects()) >= JOBS // 10)
    doomed.kill()
    shop.stop(sleepy)
    broker.kill()
    third = shop.begin_to_work("-c", "6")
    broker.start()
    shop.wait_for(third)
    time.sleep(LEASE + 1)
    broker.empty()
    sleepy.send_signal(signal.SIGCONT)
    shop.until(lambda: shop.left() == 0)
    time.sleep(1)  # late writes of the stopped worker are refused
    assert shop.effects() == list(range(JOBS))
    for worker in (sleepy, third):
        worker.terminate()
        assert worker.wait(20) == 0
    assert shop.sql("SELECT count(*) FROM bedrock_chat_worker WHERE concurrency <> 6") == [(0,)]


@pytest.mark.both
def test_of_two_workers_that_are_told_everything_twice_one_does_each_job(shop: Workshop, broker: Broker) -> None:
    tell(shop, JOBS, seconds=0.05)
    bodies = [json.loads(base64.b64decode(json.loads(message)["body"])) for message in broker.messages()]
    rows = shop.sql("SELECT id FROM bedrock_chat_job")
    assert sorted(body[0] for body in bodies) == sorted(list(row) for row in rows)
    assert {str(body[1:]) for body in bodies} == {str([{}, bodies[0][2]])}  # an id, and nothing else
    assert not any(bodies[0][2].values())
    broker.double()
    workers = [shop.begin_to_work("-c", "6") for _ in range(2)]
    for worker in workers:
        shop.wait_for(worker)
    shop.until(lambda: shop.left() == 0 and not broker.messages())
    assert shop.effects() == list(range(JOBS))


def test_a_worker_begins_so_many_jobs_of_a_bounded_kind_as_it_may_and_goes_on_with_those_whose_messages_it_dropped(
    shop: Workshop,
) -> None:
    worker = shop.work("-c", "6", SHARED="yes", JOB_LEASE_SECONDS="60")
    tell(shop, 8, seconds=1)
    counts: list[int] = []

    def is_done() -> bool:
        counts.append(running(shop))
        assert worker.poll() is None
        return shop.left() == 0

    shop.until(is_done)
    assert (max(counts), shop.effects()) == (2, list(range(8)))


def test_jobs_that_stand_in_line_begin_in_its_order_whatever_messages_come(shop: Workshop, broker: Broker) -> None:
    parties = ["alice"] * 7 + ["bob"]
    shop.run(
        f"with transaction.atomic():\n    for n, party in enumerate({parties}):\n"
        "        queue.enqueue('note', {'number': n, 'seconds': 0.5, 'party': party})\n"
        "import time; time.sleep(1)"  # for the messages
    )
    shop.work("-c", "6", SHARED="yes", JOB_LEASE_SECONDS="60")
    shop.until(lambda: shop.left() == 0)
    order = [number for (number,) in shop.sql("SELECT number FROM job_effects")]
    assert sorted(order) == list(range(8))
    assert order.index(7) < 4


def test_a_broker_that_is_away_or_silent_delays_no_request_and_the_jobs_are_done_when_it_is_back(
    shop: Workshop, broker: Broker
) -> None:
    with broker.stopped():
        assert tell(shop, 5) < 1
    broker.kill()
    assert tell(shop, 5) < 1
    worker = shop.begin_to_work("-c", "2")
    time.sleep(2)
    broker.start()
    shop.wait_for(worker)
    shop.until(lambda: shop.left() == 0)
    assert shop.effects() == sorted([*range(5), *range(5)])
    # And once more while the worker is there, and its own connections are held.
    with broker.stopped():
        assert tell(shop, 5) < 1
        time.sleep(1)
    shop.until(lambda: shop.left() == 0, 180)  # a message that nobody acknowledged comes again later
    assert len(shop.effects()) == 15
    # Nor does it keep a worker from its end.
    with broker.stopped():
        time.sleep(1)
        worker.terminate()
        assert worker.wait(20) == 0
    broker.kill()
    late = shop.begin_to_work("-c", "2")
    shop.until(lambda: shop.sql("SELECT count(*) FROM bedrock_chat_worker") == [(1,)])
    late.terminate()
    assert late.wait(20) == 0
    assert shop.sql("SELECT count(*) FROM bedrock_chat_worker") == [(0,)]


@pytest.mark.both
def test_a_worker_that_is_told_to_end_finishes_what_it_can_and_gives_the_rest_back(shop: Workshop) -> None:
    worker = shop.work("-c", "3", SHUTDOWN_GRACE="2", JOB_LEASE_SECONDS="60")
    shop.run("queue.enqueue('note', {'number': 1, 'seconds': 60})")
    shop.until(lambda: running(shop) == 1)
    shop.run("for n in range(2, 8): queue.enqueue('note', {'number': n, 'seconds': 1})")
    shop.until(lambda: running(shop) == 3)
    begun = time.monotonic()
    worker.terminate()
    assert worker.wait(20) == 0
    assert time.monotonic() - begun < 10
    done = shop.effects()
    assert done == [2, 3, 4, 5][: len(done)]  # on a busy machine two more were begun before the signal
    assert len(done) >= 2
    assert shop.sql("SELECT state, attempt, count(*) FROM bedrock_chat_job GROUP BY state, attempt") == [
        ("ready", 0, 7 - len(done))
    ]
    assert shop.sql("SELECT count(*) FROM bedrock_chat_worker") == [(0,)]


def test_workers_with_and_without_celery_share_the_jobs_and_the_console_sees_both(shop: Workshop) -> None:
    shop.begin_to_work("-c", "2", TICKS="1")
    shop.celery = False
    shop.begin_to_work("--concurrency", "2", TICKS="1")
    for worker in shop.workers:
        shop.wait_for(worker)
    assert shop.run("from bedrock_chat.jobs import backlog; print(backlog.look().workers)") == "2"
    tell(shop, 20, seconds=0.2)
    shop.until(lambda: [number for number in shop.effects() if number != 1] == [0, *range(2, 20)])
    assert shop.effects().count(1) >= 2  # the periodic job writes it, too


def test_jobs_come_again_and_keep_their_leases_where_only_celery_works(shop: Workshop) -> None:
    shop.run(f"queue.enqueue('fail'); queue.enqueue('note', {{'number': 7, 'seconds': {2 * LEASE}}})")
    shop.work("-c", "3", TICKS="1")
    attempts = set()

    def is_noted() -> bool:
        attempts.update(shop.sql("SELECT attempt FROM bedrock_chat_job WHERE kind = 'note'"))
        return 7 in shop.effects()

    shop.until(is_noted)
    assert attempts <= {(0,), (1,)}
    shop.until(lambda: len(shop.effects()) >= 4)
    assert set(shop.effects()) == {1, 7}  # the periodic job writes the number of its attempt
    shop.until(lambda: shop.sql("SELECT attempt FROM bedrock_chat_job WHERE kind = 'fail'")[0][0] >= 2)


def test_a_worker_of_an_older_version_is_not_told_of_what_it_does_not_know(shop: Workshop) -> None:
    shop.work("-c", "2", OLDER="1")
    shop.run("queue.enqueue('stamp', {'asked': 0}); queue.enqueue('note', {'number': 1})")
    shop.until(lambda: shop.effects() == [1])
    assert shop.sql("SELECT kind, state, attempt FROM bedrock_chat_job") == [("stamp", "ready", 0)]
    shop.work("-c", "2")
    shop.until(lambda: shop.left() == 0)


def test_a_pool_in_which_leases_would_not_be_renewed_is_refused(shop: Workshop) -> None:
    worker = shop.begin_to_work("-P", "solo")
    assert worker.wait(30) == 1
    assert "pool of threads" in shop.log.read_text()


@pytest.fixture(params=["files", "sqs", "rabbitmq"])
def transport(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of a broker that is no Redis. TEST_AMQP_URL names a RabbitMQ."""
    if request.param == "sqs":
        with servers.sqs() as service:
            keys = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_REGION": "us-east-1"}
            yield {"CELERY_BROKER_URL": f"sqs://x:x@{service.address}", "CELERY_BROKER_OPTIONS": NO_TLS, **keys}
    elif request.param == "rabbitmq":
        if "TEST_AMQP_URL" not in os.environ:
            pytest.skip("no RabbitMQ here; TEST_AMQP_URL names one")
        yield {"CELERY_BROKER_URL": os.environ["TEST_AMQP_URL"], "CELERY_QUEUE": f"test-{time.time_ns()}"}
    else:
        for folder in ("messages", "control"):
            (tmp_path / folder).mkdir()
        messages = str(tmp_path / "messages")
        options = {"data_folder_in": messages, "data_folder_out": messages, "control_folder": str(tmp_path / "control")}
        yield {"CELERY_BROKER_URL": "filesystem://", "CELERY_BROKER_OPTIONS": json.dumps(options)}


def test_any_transport_will_do(workshop: Workshop, transport: dict[str, str]) -> None:
    before = dict(workshop.environment)
    workshop.environment |= transport
    workshop.celery = True
    try:
        workshop.work("-c", "2")
        tell(workshop, 10)
        workshop.until(lambda: workshop.left() == 0)
        unread = "from bedrock_chat.jobs import broker; print(broker.unread('note'), broker.unread('stamp'))"
        workshop.until(lambda: workshop.run(unread) == "0 0")  # the sweep may have told of a job once more
        assert tell(workshop, 10, seconds=0.1) < 5
        workshop.until(lambda: workshop.left() == 0)
        assert workshop.effects() == sorted([*range(10), *range(10)])
        for worker in workshop.workers:
            worker.terminate()
            assert worker.wait(20) == 0
    finally:
        workshop.celery = False
        workshop.environment = before


def test_a_message_can_ask_for_nothing_but_a_job(workshop: Workshop) -> None:
    workshop.environment["CELERY_BROKER_URL"] = "redis://127.0.0.1:9/0"
    printed = workshop.run(
        "from bedrock_chat.jobs.celery import app\n"
        "print(sorted(app.tasks), app.conf.accept_content, app.conf.worker_enable_remote_control)"
    )
    del workshop.environment["CELERY_BROKER_URL"]
    assert printed == "['bedrock_chat.do'] ['json'] False"


def test_a_server_tells_of_a_job_when_its_request_has_committed(broker: Broker, tmp_path: Path) -> None:
    with LiveServer(tmp_path, "http://127.0.0.1:9", CELERY_BROKER_URL=broker.url) as server:
        token = server.manage("issue_token", "alice", "--group", "CreatingBotAllowed")
        bot_id = new_id()
        assert server.call("POST", "/bot", bot.payload(bot_id), token=token)[0] == 200
        assert server.call("DELETE", f"/bot/{bot_id}", token=token)[0] == 200
        end = time.monotonic() + 10
        while not broker.messages("bedrock-chat-forget-bot"):
            assert time.monotonic() < end, server.log.read_text()
            time.sleep(0.05)
        assert server.call("GET", "/ready")[1]["broker"] == "ok"
        broker.kill()
        bot_id = new_id()
        assert server.call("POST", "/bot", bot.payload(bot_id), token=token)[0] == 200
        assert server.call("DELETE", f"/bot/{bot_id}", token=token)[0] == 200
        while server.call("GET", "/ready")[1]["broker"] != "refused":
            assert time.monotonic() < end + 10
            time.sleep(0.05)
