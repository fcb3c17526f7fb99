"""Who sends a request, judged by its head alone: before a large body, or a file, is read."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from bedrock_chat.serving.bridge import Environ
from bedrock_chat.wire.errors import Unauthenticated
from bedrock_chat.wire.requests import WireRequest

Judge = Callable[[HttpRequest], str | None]
"""One of the settings' BODY_JUDGES, for one way of authentication. It names the caller of a request that comes this
way, returns None for any other request, and raises ApiError for one that it refuses. It may read the database."""

Admit = Callable[[HttpRequest], tuple[str, Path]]
"""One of the settings' UPLOADS, for one route. Raises ApiError, and OSError where the disk is full."""


def caller_of(environ: Environ) -> str:
    """The caller whom the first of the judges knows. Raises ApiError: Unauthenticated where none of them does."""
    request = WireRequest({**environ, "wsgi.input": BytesIO()})
    for path in settings.BODY_JUDGES:
        judge: Judge = import_string(path)
        if (caller := judge(request)) is not None:
            return caller
    raise Unauthenticated("A request body over 64 KB needs a valid token.")


def uploader_of(environ: Environ, path: str) -> tuple[str, Path]:
    """Whose an upload is, and the folder for its file: one of the settings' UPLOADS says so, or raises."""
    admit: Admit = import_string(path)
    return admit(WireRequest({**environ, "wsgi.input": BytesIO()}))
