"""How chat completions end that do not simply succeed, and what stays of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import DatabaseError
from rest_framework.test import APIClient

from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import erasing
from bedrock_chat.identity.caller import Program
from bedrock_chat.identity.models import User
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.models import ModelCall
from conversations.turn import admission, registry
from publication.openai import answering
from tests.bots.bot import body
from tests.emulator import Emulator
from tests.publication.api import Api
from tests.publication.openai.chat import complete, error_of, post, said, stream, user
from tests.together import wait_for

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both]

SILENT = "[[silence:30]]"
HALF = "[[words:9]] [[silence:30:after:4]]"


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def cut(api: Api, emulator: Emulator, request: Any) -> Callable[[Callable[[], object]], dict[str, Any]]:
    """Asks, and does something while the model is silent. Returns the error, with its status if it has one."""

    def ask() -> dict[str, Any]:
        try:
            if request.param:
                return {"status": 0, **stream(api, user(HALF))[-1]["error"]}
            response = post(api, user(SILENT))
            return {"status": response.status_code, **error_of(response)}
        finally:
            release_connection()

    def while_asked(do: Callable[[], object]) -> dict[str, Any]:
        with ThreadPoolExecutor(1) as pool:
            response = pool.submit(ask)
            wait_for(lambda: any(run.answer.has_text() or not request.param for run in registry.other_runs()))
            wait_for(emulator.requests)
            do()
            return response.result(10)

    return while_asked


def test_a_withdrawn_api_ends_its_calls_with_an_error(cut: Any, dave: APIClient) -> None:
    def withdraw() -> None:
        answering.end_withdrawn()  # nothing is wrong yet
        assert len(registry.other_runs()) == 1
        assert body(dave.delete("/bot/helper/publication")) is None
        answering.end_withdrawn()

    error = cut(withdraw)
    assert error["message"] == "This API was withdrawn."
    assert error["status"] in (0, 403)
    call = ModelCall.objects.get()
    assert (call.stop_reason, call.estimated, call.fault) == ("stopped", True, "")
    assert admission.count() == len(registry.other_runs()) == 0


def test_the_end_of_the_process_ends_its_calls_with_an_error(cut: Any) -> None:
    error = cut(lambda: [running.end(StopReason.INTERRUPTED) for running in registry.other_runs()])
    assert error["message"] == "This server is shutting down; send the message again."
    assert error["status"] in (0, 503)
    assert ModelCall.objects.get().fault == "Shutdown"


def test_an_erased_owner_is_not_named_by_what_was_running(cut: Any, dave: APIClient) -> None:
    def erase() -> None:
        list(erasing.erase(User.objects.get(username="dave").pk, actor=Program.command("erase_user")))
        answering.end_withdrawn()

    assert cut(erase)["message"] == "This API was withdrawn."
    assert ModelCall.objects.get().payer_id.startswith("erased:")


def test_a_ledger_that_cannot_be_written_costs_no_answer(
    api: Api, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise DatabaseError("gone")

    monkeypatch.setattr(recording, "insert_late", fail)
    assert said(complete(api))[0] == "Echo: hello"
    assert "the ledger lost the calls" in caplog.text
    assert ModelCall.objects.get().fault == recording.PROCESS_LOST  # as it was written before the call
