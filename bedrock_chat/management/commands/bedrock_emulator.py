"""`manage.py bedrock_emulator`: Bedrock's runtime on this machine. docs/EMULATOR.md is its manual."""

import sys
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from bedrock_chat.bedrock.emulator.process import add_options, run


class Command(BaseCommand):
    help = "Speaks the Bedrock Runtime protocol, scripted by markers in prompts; costs nothing."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        add_options(parser, port=settings.EMULATOR_PORT)

    def handle(self, *args: Any, **options: Any) -> None:
        if code := run(options["host"], options["port"], exit_with_parent=options["exit_with_parent"]):
            sys.exit(code)
