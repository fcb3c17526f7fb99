"""`manage.py run`: the whole product on this machine, on embedded defaults. `make run` calls it."""

import os
import shlex
import socket
import subprocess
import sys
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from bedrock_chat import environment
from bedrock_chat.identity import local
from bedrock_chat.process.companions import Companion
from bedrock_chat.serving import server

MANAGE = shlex.join([sys.executable, "manage.py"])  # as somebody types it who has activated no environment


class Command(BaseCommand):
    help = "Migrates, seeds local identities, and starts emulator, worker and API. Ctrl-C stops all of it."

    def handle(self, *args: Any, **options: Any) -> None:
        _refuse_taken_port("PORT", settings.HOST, settings.PORT)
        settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
        call_command("migrate", verbosity=0, interactive=False)
        token = local.seed() if settings.LOCAL_IDENTITIES else None
        login, password = local.first_operator()
        companions = [Companion("emulator", _start_emulator)] if _emulator_is_ours() else []
        companions.append(Companion("worker", _start_worker))
        try:
            server.run(on_started=lambda _address: self._greet(token, login, password))
        finally:
            for companion in companions:
                companion.end()

    def _greet(self, token: str | None, login: str, password: str | None) -> None:
        """Prints the addresses, the logins, and a command to try."""
        base = settings.PUBLIC_BASE_URL
        secret = f"password {password}" if password else f"new password: {MANAGE} changepassword {login}"
        lines = [
            f"Bedrock Chat   {base}",
            *([f"Chat           {base}/chat#token={token}"] if token is not None else []),
            f"API documents  {base}/docs",
            f"Console        {base}/console/   login {login}, {secret}",
            f"Bedrock        {_bedrock_in_use()}",
        ]
        if token is not None:
            body = (
                '{"conversationId": "first", "message": {"content": [{"contentType": "text", "body": "Hello!"}], '
                f'"model": "{settings.DEFAULT_MODEL}"}}}}'
            )
            lines += [
                "Token (alice)  " + token,
                "",
                "Try it:",
                f"curl -s {base}/conversation -H 'Content-Type: application/json' "
                f"-H 'Authorization: Bearer {token}' -d {shlex.quote(body)}",
            ]
        self.stdout.write("\n" + "\n".join(lines) + "\n\nCtrl-C stops it.\n")
        self.stdout.flush()


def _bedrock_in_use() -> str:
    if settings.BEDROCK == "aws" and settings.BEDROCK_ENDPOINT_URL is None:
        return f"Amazon Bedrock in {settings.BEDROCK_REGION} (this costs money)"
    if _emulator_is_ours():
        return f"the emulator at {settings.BEDROCK_ENDPOINT_URL} (costs nothing; BEDROCK=aws asks the real one)"
    return f"{settings.BEDROCK_ENDPOINT_URL} (from AWS_ENDPOINT_URL_BEDROCK_RUNTIME)"


def _emulator_is_ours() -> bool:
    return settings.BEDROCK == "emulator" and not environment.is_set("AWS_ENDPOINT_URL_BEDROCK_RUNTIME")


def _refuse_taken_port(variable: str, host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} on {host} cannot be used ({error.strerror}); set {variable} to another one."
            ) from None


def _start_worker() -> subprocess.Popen[bytes]:
    """A worker as a process that ends with this one, however this one ends."""
    command = [sys.executable, "manage.py", "run_worker", "--exit-with-parent"]
    return subprocess.Popen(  # noqa: S603  our own interpreter and command
        command, stdout=subprocess.DEVNULL, cwd=settings.BASE_DIR, env=os.environ.copy()
    )


def _start_emulator() -> subprocess.Popen[bytes]:
    """The emulator as a process that ends with this one, however this one ends."""
    port = urlsplit(str(settings.BEDROCK_ENDPOINT_URL)).port or 0
    _refuse_taken_port("EMULATOR_PORT", "127.0.0.1", port)
    command = [sys.executable, "-m", "bedrock_chat.bedrock.emulator", "--port", str(port), "--exit-with-parent"]
    process = subprocess.Popen(  # noqa: S603  our own interpreter and module
        command, stdout=subprocess.PIPE, cwd=settings.BASE_DIR, env=os.environ.copy()
    )
    assert process.stdout is not None
    if not process.stdout.readline():
        raise CommandError(f"The Bedrock emulator did not start; `{MANAGE} bedrock_emulator` says why.")
    return process
