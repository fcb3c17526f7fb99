"""`manage.py run_worker --concurrency 8`: does durable jobs until SIGTERM, the worker role in production."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from bedrock_chat.jobs import worker
from bedrock_chat.process import limits
from bedrock_chat.process.shutdown import leave


class Command(BaseCommand):
    help = "Do durable jobs until SIGTERM or Ctrl-C. Any number of workers share a database."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--concurrency", type=int, default=settings.WORKER_CONCURRENCY, help="jobs at a time (WORKER_CONCURRENCY)"
        )
        parser.add_argument(
            "--exit-with-parent",
            action="store_true",
            help="end when the process that started this one is gone; Ctrl-C is left to that process",
        )

    def handle(self, *args: Any, concurrency: int, exit_with_parent: bool, **options: Any) -> None:
        if exit_with_parent:
            limits.end_with_parent()
        concurrency = max(1, concurrency)
        if settings.WORKER_PORT:
            from bedrock_chat.serving import probes  # noqa: PLC0415  a worker needs nothing else of the web process

            probes.begin(settings.HOST, settings.WORKER_PORT)
        worker.run(concurrency, on_started=lambda: self._say(concurrency), heed_interrupt=not exit_with_parent)
        leave(0)

    def _say(self, concurrency: int) -> None:
        self.stdout.write(f"Working, {concurrency} jobs at a time")
        self.stdout.flush()
