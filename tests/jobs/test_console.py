"""The queue in the console: what runs, what is dead and why, and the two things an operator can do about it."""

from typing import Any

import pytest
from django.test import Client

from bedrock_chat.identity.models import User
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State

pytestmark = pytest.mark.django_db
PAGE = "/console/bedrock_chat/job/"


@pytest.fixture
def olga(settings: Any) -> Client:
    """An operator."""
    settings.JOBS = {"note": "tests.jobs.handlers.note"}
    client = Client()
    client.force_login(User.objects.create_superuser("olga", "correct horse battery"))
    return client


def act(client: Client, action: str, *jobs: Job) -> str:
    response = client.post(PAGE, {"action": action, "_selected_action": [job.pk for job in jobs]}, follow=True)
    assert response.status_code == 200
    return response.content.decode()


def dead() -> Job:
    queue.enqueue("note", {"secret": "a private word"})
    Job.objects.update(attempt=queue.MOST_ATTEMPTS - 1)
    (claimed,) = queue.claim("worker-1", 1)
    queue.fail(claimed, "the model was away")
    return Job.objects.get(pk=claimed.pk)


def test_the_page_tells_why_a_job_is_dead_and_nothing_of_what_it_was_asked(olga: Client) -> None:
    job = dead()
    for path in (PAGE, f"{PAGE}?state__exact=dead", f"{PAGE}{job.pk}/change/"):
        page = olga.get(path).content.decode()
        assert "the model was away" in page
        assert "a private word" not in page


def test_a_dead_job_begins_again(olga: Client) -> None:
    job = dead()
    assert "1 of 1 jobs begin now" in act(olga, "retry", job)
    job.refresh_from_db()
    assert (job.state, job.attempt) == (State.READY, 0)


def test_a_running_job_is_not_begun_twice_and_can_be_taken_away(olga: Client) -> None:
    queue.enqueue("note")
    (claimed,) = queue.claim("worker-1", 1)
    job = Job.objects.get(pk=claimed.pk)
    assert "0 of 1 jobs begin now" in act(olga, "retry", job)
    assert "1 jobs were cancelled" in act(olga, "cancel", job)
    assert not Job.objects.exists()


def test_nothing_can_be_added_or_changed_there(olga: Client) -> None:
    job = dead()
    assert olga.get(f"{PAGE}add/").status_code == 403
    assert olga.post(f"{PAGE}{job.pk}/change/", {"kind": "other"}).status_code == 403
    assert olga.post(f"{PAGE}{job.pk}/delete/", {"post": "yes"}).status_code == 403


def test_workers_are_shown(olga: Client) -> None:
    assert olga.get("/console/bedrock_chat/worker/").status_code == 200
