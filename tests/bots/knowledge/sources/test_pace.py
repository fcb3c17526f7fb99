"""A host has turns, shared by all workers: so many a minute, none for who would wait long, none after it asked so."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from bots.knowledge.models import CrawlHost
from bots.knowledge.sources import pace

pytestmark = [pytest.mark.both, pytest.mark.django_db(transaction=True)]
HOST = "e.example"


def test_turns_are_so_far_apart_and_who_would_wait_long_takes_none() -> None:
    waits = [pace.turn(HOST, 2.0) for _ in range(6)]
    taken, refused = waits[:3], waits[3:]
    for number, wait in enumerate(taken):
        assert 2.0 * number - 0.5 <= wait <= 2.0 * number + 2.0 * pace.JITTER
    assert all(5.0 < wait <= 6.0 for wait in refused)
    assert pace.turn("other.example", 2.0) <= 2.0 * pace.JITTER


def test_pages_that_are_far_apart_have_turns_too() -> None:
    """As with one page a minute, or a site that asks for ten seconds between two."""
    assert pace.turn(HOST, 60.0) <= pace.LONGEST_JITTER
    assert 55 < pace.turn(HOST, 60.0) <= 60
    CrawlHost.objects.update(next_at=timezone.now() - timedelta(seconds=1))
    assert pace.turn(HOST, 60.0) <= pace.LONGEST_JITTER


def test_a_turn_is_one_statement(django_assert_num_queries: object) -> None:
    with django_assert_num_queries(1):  # type: ignore[operator]
        pace.turn(HOST, 0.2)
    with django_assert_num_queries(1):  # type: ignore[operator]
        pace.turn(HOST, 0.2)


def test_turns_that_are_close_together_add_up_too() -> None:
    """As many as a hundred thousand a minute: less than a millisecond apart."""
    begin = timezone.now()
    for _ in range(100):
        assert pace.turn(HOST, 0.0006) < 1
    after = CrawlHost.objects.get(pk=HOST).next_at
    assert after >= begin + timedelta(seconds=0.0006 * 100)


def test_a_turn_that_is_long_over_makes_no_faster_ones() -> None:
    CrawlHost.objects.create(host=HOST, next_at=timezone.now() - timedelta(hours=1))
    assert pace.turn(HOST, 2.0) <= 2.0 * pace.JITTER
    assert pace.turn(HOST, 2.0) > 1.0


def test_a_host_that_asks_for_a_pause_has_it() -> None:
    pace.turn(HOST, 0.2)
    pace.postpone(HOST, 60)
    pace.postpone(HOST, 5)
    pace.postpone("new.example", 30)
    assert 55 < pace.turn(HOST, 0.2) <= 60
    assert 25 < pace.turn("new.example", 0.2) <= 30


def test_workers_that_ask_at_once_share_the_turns() -> None:
    def ask(_: int) -> float:
        try:
            return pace.turn(HOST, 0.5)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        waits = sorted(threads.map(ask, range(24)))
    taken = [wait for wait in waits if wait <= pace.LONGEST_WAIT]
    assert 9 <= len(taken) <= 13


def test_two_fetches_of_a_process_are_at_a_host_at_a_time() -> None:
    def take() -> None:
        taken.append(pace.take_place(HOST))

    taken = list[bool]()
    for _ in range(3):
        thread = threading.Thread(target=take)
        thread.start()
        thread.join()
    assert taken == [True, True, False]
    assert pace.take_place("other.example")
    pace.give_place_back(HOST)
    assert pace.take_place(HOST)
    for host in (HOST, HOST, "other.example"):
        pace.give_place_back(host)
    assert pace._places == {}


def test_hosts_that_nobody_asks_for_are_forgotten() -> None:
    now = timezone.now()
    CrawlHost.objects.bulk_create(
        [CrawlHost(host=f"h{number}.example", next_at=now - timedelta(days=number)) for number in range(1, 6)]
    )
    pace.turn(HOST, 1)
    assert pace.forget_old(most=3)
    assert not pace.forget_old(most=3)
    assert list(CrawlHost.objects.values_list("host", flat=True)) == [HOST]


def test_turns_that_are_taken_in_any_case_are_waited_for_by_others() -> None:
    begin = timezone.now()
    assert pace.take(HOST, 20.0, requests=3) == 0.0
    assert CrawlHost.objects.get(pk=HOST).next_at >= begin + timedelta(seconds=60)
    assert pace.turn(HOST, 20.0) > pace.LONGEST_WAIT
    assert pace.take(HOST, 20.0, requests=1) > 59
    assert CrawlHost.objects.get(pk=HOST).next_at >= begin + timedelta(seconds=80)


def test_several_requests_take_as_many_turns_at_once() -> None:
    begin = timezone.now()
    assert pace.turn(HOST, 30.0, requests=2) <= pace.LONGEST_JITTER
    assert CrawlHost.objects.get(pk=HOST).next_at >= begin + timedelta(seconds=60)
