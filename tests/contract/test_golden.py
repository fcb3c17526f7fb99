"""The recorded run of the API, replayed: stateful, in order, with the exceptions that are written down."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from tests.contract.exceptions import DECIDED, NOT_BUILT
from tests.contract.replay import SAMPLES, Differs, Replay
from tests.conversations.chat import read, say, text_of

LISTED = {**DECIDED, **{name: part for part, names in NOT_BUILT.items() for name in names}}
NAMES = [sample["name"] for sample in SAMPLES if not sample.get("setup")]


@pytest.mark.both
@pytest.mark.django_db(transaction=True)
def test_recorded_requests_are_answered_as_recorded(emulator: Any) -> None:
    replay = Replay()
    differing: dict[str, str] = {}
    needless: list[str] = []
    for sample in SAMPLES:
        name = sample["name"]
        if sample["target"] != "main":
            assert name in LISTED or sample.get("setup"), f"{name} is neither replayed nor listed"
            continue
        if name == "conv-continue-generate-with-reasoning":
            _prepare_answer_to_continue(replay)
        response = replay.send(sample)
        if sample.get("setup"):
            continue
        try:
            replay.compare(sample, response)
        except Differs as difference:
            if name not in LISTED:
                differing[name] = str(difference)
        else:
            # A success is no accident; a 404 of a route that is not there is.
            if name in LISTED and response.status_code < 400:
                needless.append(name)
        if name == "conv-continue-generate-with-reasoning":
            assert text_of(response.json()["message"]) == "This answer stops ...and the rest."
    assert differing == {}
    assert needless == [], "these are as recorded now: strike them from the exceptions"


def _prepare_answer_to_continue(replay: Replay) -> None:
    """The recording continues an answer here whose making it leaves out."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {replay.tokens['alice']}")
    conversation = "01JZZZZZZZZZZZZZZZZZZZZC26"
    say(client, conversation, "write long [[max_tokens]]")
    made = read(client, conversation)
    answer = made["lastMessageId"]
    replay.bindings["01M81EVMB9SMYNAJ6XPEJ29F2Q"] = answer
    replay.bindings["01M81EVM7YYH3PR021BY7TP332"] = made["messageMap"][answer]["parent"]


def test_names_of_samples_are_unique() -> None:
    assert len(NAMES) == len(set(NAMES))


def test_every_exception_names_a_sample_and_a_reason() -> None:
    assert set(LISTED) <= set(NAMES)
    assert all(reason.strip() for reason in LISTED.values())
    assert len(LISTED) == len(DECIDED) + sum(map(len, NOT_BUILT.values())), "listed twice"
