"""A page to try the product in a browser. It exists only with local identities, and calls the API like any client."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt
from rest_framework.exceptions import MethodNotAllowed

from bedrock_chat.bedrock import offering
from bedrock_chat.wire import errors
from bots.configuration import WIRE_KEYS

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""No text becomes markup or a script: where a browser knows trusted types, the page has none, so that it refuses."""
REASONING = {"none": "never", "always-on": "always"}


@csrf_exempt  # so that a POST gets a 405, and not an error about CSRF cookies
def chat_page(request: HttpRequest) -> HttpResponse:
    """`GET /chat`. It needs no token: the user gives one to the page, which keeps it in the browser."""
    if request.method not in ("GET", "HEAD"):
        error = errors.as_api_error(MethodNotAllowed(str(request.method)))
        error.headers["Allow"] = "GET, HEAD"
        return errors.json_error(error)
    config = {"models": _models(), "emulator": settings.BEDROCK == "emulator"}
    response = render(request, "conversations/chat.html", {"config": config})
    response.headers["Content-Security-Policy"] = POLICY
    response.headers["Cache-Control"] = "no-cache"
    return response


def _models() -> list[dict[str, Any]]:
    """The models on offer, the default one first. The page hides what a model surely cannot do: the API refuses it."""
    return [
        {
            "key": model.key,
            "flag": WIRE_KEYS[model.key],
            "name": model.display_name,
            "images": model.images is not False,
            "documents": model.documents is not False,
            "prefill": model.prefill is True,
            "reasoning": REASONING.get(model.reasoning.mode, "optional"),
        }
        for model in offering.enabled()
    ]
