"""The queue in the console: what runs, what is dead and why, and the two things an operator can do about it."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.test import Client

from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State, Worker

pytestmark = pytest.mark.django_db
PAGE = "/console/bedrock_chat/job/"


@pytest.fixture
def olga(settings: Any) -> Client:
    """An operator."""
    settings.JOBS = {"note": "tests.jobs.handlers.note"}
    client = Client()
    client.force_login(User.objects.create_superuser("olga", "correct horse battery"))
    return client


def operator_who_may(*permissions: str) -> Client:
    user = User.objects.create_superuser("vera", "correct horse battery")
    user.is_superuser = False
    user.save()
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, action: str, *jobs: Job, page: str = PAGE) -> str:
    chosen = {"action": action, "_selected_action": [job.pk for job in jobs], "confirmed": "yes"}
    response = client.post(page, chosen, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def dead_job() -> Job:
    queue.enqueue("note", {"secret": "a private word"})
    Job.objects.update(attempt=queue.MOST_ATTEMPTS - 1)
    (claimed,) = queue.claim("worker-1", 1)
    queue.fail(claimed, "the model was away")
    return Job.objects.get(pk=claimed.pk)


def test_the_page_tells_why_a_job_is_dead_and_nothing_of_what_it_was_asked(olga: Client) -> None:
    job = dead_job()
    for path in (PAGE, f"{PAGE}?state__exact=dead", f"{PAGE}{job.pk}/change/"):
        page = olga.get(path).content.decode()
        assert "the model was away" in page
        assert "a private word" not in page


def test_a_dead_job_begins_again(olga: Client) -> None:
    job = dead_job()
    assert "Retry: 1 of 1 done." in act(olga, "retry", job, page=f"{PAGE}?state__exact=dead")
    job.refresh_from_db()
    assert (job.state, job.attempt) == (State.READY, 0)


def test_an_action_says_what_it_does_before_it_does_it(olga: Client) -> None:
    job = dead_job()
    for path, sentence in (
        (f"{PAGE}{job.pk}/retry/", "as if it had never failed"),
        (f"{PAGE}{job.pk}/cancel/", "undone"),
    ):
        assert sentence in olga.get(path).content.decode()
    assert Job.objects.get().state == State.DEAD
    assert olga.post(f"{PAGE}{job.pk}/cancel/").status_code == 302
    assert not Job.objects.exists()


def test_the_state_of_a_job_is_told_in_plain_words(olga: Client, django_assert_max_num_queries: Any) -> None:
    dead = dead_job()
    now = database_now()
    Worker.objects.create(id="w1", host="host-7", process=1, concurrency=1, started_at=now, seen_at=now)
    later = {"kind": "note", "due_at": now + timedelta(hours=1), "created_at": now}
    Job.objects.create(**later, state=State.RUNNING, worker="w1", attempt=3)
    Job.objects.create(**later)
    Job.objects.create(**later, reason="away", attempt=2)
    Job.objects.create(**{**later, "due_at": now - timedelta(seconds=1)})
    with django_assert_max_num_queries(9):
        page = olga.get(PAGE).content.decode()
    for words in (
        "given up after 8 attempts",
        "running on host-7, attempt 3 of 8",
        "due later",
        "tried again later, attempt 2 of 8",
        "waits for a worker",
    ):
        assert words in page
    assert "given up" in olga.get(f"{PAGE}{dead.pk}/change/").content.decode()


def test_a_running_job_is_not_begun_twice_and_can_be_taken_away(olga: Client) -> None:
    queue.enqueue("note")
    (claimed,) = queue.claim("worker-1", 1)
    job = Job.objects.get(pk=claimed.pk)
    assert "It runs already, or is done." in act(olga, "retry", job)
    assert "Cancel: 1 of 1 done." in act(olga, "cancel", job)
    assert not Job.objects.exists()


def test_of_a_periodic_job_one_run_is_cancelled_and_the_page_says_so(olga: Client, settings: Any) -> None:
    settings.JOB_SCHEDULE = {"note": 30}
    queue.follow_schedule()
    job = Job.objects.get()
    assert "Cancel: 1 of 1 done." in act(olga, "cancel", job)
    job.refresh_from_db()
    assert (job.state, job.due_at > job.created_at) == (State.READY, True)


def test_a_job_of_a_kind_that_nobody_does_is_shown_and_can_be_cancelled(olga: Client, settings: Any) -> None:
    queue.enqueue("note")
    assert "unknown kind" not in olga.get(PAGE).content.decode()
    settings.JOBS = {}
    assert "ready, unknown kind" in olga.get(PAGE).content.decode()
    act(olga, "cancel", Job.objects.get())
    assert not Job.objects.exists()


@pytest.mark.usefixtures("olga")
def test_who_may_only_look_is_offered_no_action_and_can_send_none() -> None:
    job = dead_job()
    vera = operator_who_may("view_job")
    page = vera.get(PAGE).content.decode()
    assert "the model was away" in page
    assert 'value="retry"' not in page
    assert 'value="cancel"' not in page
    for action in ("retry", "cancel"):
        act(vera, action, job)
    assert Job.objects.get().state == State.DEAD


@pytest.mark.usefixtures("olga")
def test_who_may_change_jobs_retries_and_cancels_them() -> None:
    job = dead_job()
    vera = operator_who_may("view_job", "change_job")
    assert 'value="retry"' in vera.get(PAGE).content.decode()
    assert "Retry: 1 of 1 done." in act(vera, "retry", job)
    assert "Cancel: 1 of 1 done." in act(vera, "cancel", job)


def test_nothing_can_be_added_or_changed_there(olga: Client) -> None:
    job = dead_job()
    assert olga.get(f"{PAGE}add/").status_code == 403
    assert olga.post(f"{PAGE}{job.pk}/change/", {"kind": "other"}).status_code == 403
    assert olga.post(f"{PAGE}{job.pk}/delete/", {"post": "yes"}).status_code == 403


def test_workers_are_shown(olga: Client) -> None:
    assert olga.get("/console/bedrock_chat/worker/").status_code == 200
