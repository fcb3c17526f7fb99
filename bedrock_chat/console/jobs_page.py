"""The console page of jobs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from bedrock_chat.audit import verbs
from bedrock_chat.audit.recording import record
from bedrock_chat.console import roles
from bedrock_chat.console.confirming import ConfirmedAction, ConfirmingPage
from bedrock_chat.console.filters import choice_filter
from bedrock_chat.console.key_paging import KeyPagedReadOnlyAdmin
from bedrock_chat.database.connections import database_now
from bedrock_chat.identity.caller import Caller
from bedrock_chat.jobs import queue
from bedrock_chat.jobs.models import Job, State, Worker
from bedrock_chat.people import erasing
from bedrock_chat.people.models import Erasure
from bedrock_chat.wire.errors import Conflict

roles.allow(roles.Role.VIEWER, "bedrock_chat.view_job")
roles.allow(roles.Role.SUPPORT, "bedrock_chat.change_job")


class Retry(ConfirmedAction[Job]):
    name, label, button, icon = "retry", "Retry", "Begin now", "replay"
    permission = "bedrock_chat.change_job"
    is_for_many = True

    def is_offered(self, row: Job) -> bool:
        return row.state != State.RUNNING

    def consequences(self, row: Job | None) -> Iterable[str]:
        yield "It begins now, as if it had never failed. One that runs already does not begin twice."

    def perform(self, row: Job, values: Mapping[str, Any], *, actor: Caller) -> str:
        if not _recorded(verbs.RETRY_JOB, row, queue.retry, actor):
            raise Conflict("It runs already, or is done.")
        return f"Job {row.pk} begins now: {row.kind}."


class Cancel(ConfirmedAction[Job]):
    name, label, icon = "cancel", "Cancel", "cancel"
    permission = "bedrock_chat.change_job"
    is_for_many = is_dangerous = True

    def is_offered(self, row: Job) -> bool:
        return row.kind != erasing.KIND

    def consequences(self, row: Job | None) -> Iterable[str]:
        yield "It is taken away, also from a worker that runs it: what that has not finished is undone."
        yield "A periodic job skips this one run, and comes again with its schedule."
        yield "What the job was to do stays undone. Where it is still needed, retry it instead."

    def perform(self, row: Job, values: Mapping[str, Any], *, actor: Caller) -> str:
        if row.kind == erasing.KIND:
            raise Conflict(
                "This person is suspended until the erasure ends. Call it off on its page among the erasures."
            )
        if not _recorded(verbs.CANCEL_JOB, row, queue.cancel, actor):
            raise Conflict("It is done already.")
        if row.key in queue.schedule():
            return f"This run of job {row.pk} is cancelled; it comes again with its schedule."
        return f"Job {row.pk} is cancelled: {row.kind}."


def _recorded(verb: verbs.Verb, row: Job, write: Callable[[int], bool], actor: Caller) -> bool:
    """Does something to a job, and records it if there was something to do. Returns whether there was."""
    with transaction.atomic():
        is_done = write(row.pk)
        if is_done:
            values = {"kind": row.kind} if row.kind in settings.JOBS else {}  # another version's kind may be any text
            record(verb, str(row.pk), actor=actor, values=values)
    return is_done


@admin.register(Job)
class JobAdmin(ConfirmingPage, KeyPagedReadOnlyAdmin):
    """The queue: jobs that wait, jobs that run and until when, dead jobs and why. A job that is done has no row.

    Rows cannot be edited. The permission to change jobs allows an operator to retry and to cancel them.
    """

    confirmed = [Retry(), Cancel()]
    list_display = ["id", "kind", "shown_state", "shown_progress", "due_at", "reason", "created_at"]
    list_filter = ["state", choice_filter("kind", "kind", "kind", lambda: [(kind, kind) for kind in settings.JOBS])]
    search_fields = ["id", "key"]
    search_help_text = "The id of a job, or its whole key."
    open_columns = frozenset({"reason"})  # the message of an error
    empty_text = "Work that waits, runs or was given up stands here. There is none: nothing is to be done."
    fields = [
        *("kind", "shown_state", "shown_progress", "reason", "due_at", "attempt"),
        *("worker", "key", "created_at", "sent_at"),
    ]
    readonly_fields = ["shown_state", "shown_progress"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Job], search_term: str
    ) -> tuple[QuerySet[Job], bool]:
        """Looks for an id or a key alone: both are indexed."""
        if not search_term:
            return queryset, False
        is_id = search_term.isascii() and search_term.isdigit() and len(search_term) < 19
        return queryset.filter(Q(pk=int(search_term)) if is_id else Q(key=search_term)), False

    def complete_page(self, request: HttpRequest, rows: Sequence[Job]) -> None:
        """Adds where the running jobs of a page run, and how far they are, in two queries for all of them."""
        now = database_now()
        hosts = Worker.objects.in_bulk({row.worker for row in rows if row.worker})
        people = [row.payload.get("user") for row in rows if row.kind == erasing.KIND]
        erasures = Erasure.objects.in_bulk([user for user in people if user]) if people else {}
        for row in rows:
            erasure = erasures.get(row.payload.get("user")) if row.kind == erasing.KIND else None
            row.state_in_words = _state(row, now, hosts.get(row.worker))  # type: ignore[attr-defined]
            row.step = erasure.steps[-1] if erasure and erasure.steps else ""  # type: ignore[attr-defined]

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Job | None:
        job: Job | None = super().get_object(request, object_id, from_field)
        if job is not None:
            self.complete_page(request, [job])
        return job

    @admin.display(description="state", ordering="state")
    def shown_state(self, row: Job) -> str:
        words: str = row.state_in_words  # type: ignore[attr-defined]  # from `complete_page`
        return format_html("<strong>{}</strong>" if row.state == State.DEAD else "{}", words)

    @admin.display(description="progress", empty_value="")
    def shown_progress(self, row: Job) -> str:
        step: str = row.step  # type: ignore[attr-defined]  # from `complete_page`
        return step


def _state(row: Job, now: Any, worker: Worker | None) -> str:
    """In plain words. Of a job's attempts the first is not worth a word."""
    attempt = f", attempt {row.attempt} of {queue.MOST_ATTEMPTS}" if row.attempt > 1 else ""
    if row.kind not in settings.JOBS:
        return f"{row.state}, unknown kind: for a worker of another version"
    match row.state:
        case State.DEAD:
            return f"given up after {queue.MOST_ATTEMPTS} attempts"
        case State.RUNNING if row.due_at < now:
            return f"its worker was lost; another one takes it{attempt}"
        case State.RUNNING:
            return f"running on {worker.host if worker else 'a worker that ended'}{attempt}"
    if row.due_at <= now:
        return f"waits for a worker{attempt}"
    return f"tried again later{attempt}" if row.reason else "due later"
