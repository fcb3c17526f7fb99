"""What runs now, beside the first glance. What is wrong comes from the conditions of the alerts (`alerts_page`)."""

from collections.abc import Iterator

from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_list
from bedrock_chat.console.panels import Figure
from bedrock_chat.console.registry import now
from bedrock_chat.jobs import backlog
from bedrock_chat.jobs.models import Job, State


@now("jobs", order=50, permission="bedrock_chat.view_job")
def jobs_now(request: HttpRequest) -> Iterator[Figure]:
    """Depth of the queue, and who works on it."""
    state = backlog.look()
    running = Job.objects.filter(state=State.RUNNING).count()
    oldest = f"the oldest for {state.oldest_seconds:,.0f} s" if state.waiting else ""
    yield Figure("Jobs waiting", writing.number(state.waiting), of_list("bedrock_chat.job"), oldest)
    yield Figure("Jobs running", writing.number(running), of_list("bedrock_chat.job", state__exact=State.RUNNING))
    yield Figure("Workers", writing.number(state.workers), of_list("bedrock_chat.worker"))
