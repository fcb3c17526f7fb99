"""`manage.py serve --port 8000`: the API until SIGTERM, the web role in production."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from bedrock_chat.serving import server


class Command(BaseCommand):
    help = "Serve the API until SIGTERM or Ctrl-C: the web role in production."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="the address to listen on (default: HOST)")
        parser.add_argument(
            "--port", default=settings.PORT, type=int, help="the port; 0 takes a free one (default: PORT)"
        )

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        server.run(host=host, port=port, on_started=self._say_where)

    def _say_where(self, address: str) -> None:
        self.stdout.write(f"Listening on {address}")
        self.stdout.flush()
