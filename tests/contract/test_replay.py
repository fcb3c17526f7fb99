"""The replay notices the differences that it must notice."""

import json
from typing import Any

import pytest
from django.http import HttpResponse

from tests.contract.replay import Comparison, Differs

QUESTION, ANSWER = "01M81EVCA7KKT6M4P298CNAJ95", "01M81EVCCPEZSDZAYWXTTEGRFM"


def tree(question: str, answer: str, **fields: Any) -> dict[str, Any]:
    return {
        "createTime": 1795345461401.0,
        "messageMap": {
            "system": {"children": [question], "parent": None},
            question: {"children": [answer], "parent": "system"},
            answer: {"children": [], "parent": question},
        },
        "lastMessageId": answer,
        **fields,
    }


SAMPLE: dict[str, Any] = {
    "name": "a-sample",
    "request": {"headers": {}},
    "status": 200,
    "responseHeaders": {},
    "response": tree(QUESTION, ANSWER),
}


def answer(body: Any, status: int = 200) -> HttpResponse:
    response = HttpResponse(json.dumps(body), status=status, content_type="application/json")
    response.json = lambda: body  # type: ignore[attr-defined]  # as the test client has it
    return response


def test_ids_of_ours_stand_for_the_recorded_ones_by_their_place_in_the_tree() -> None:
    comparison = Comparison()
    assert comparison.compare(SAMPLE, answer(tree("q", "a", createTime=1.0, added="welcome")))
    assert comparison.bindings == {QUESTION: "q", ANSWER: "a"}
    with pytest.raises(Differs, match="bound to"):
        comparison.compare(SAMPLE, answer(tree("another", "a")))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (tree("q", "a", lastMessageId="q"), "stands for"),
        (tree("q", "a", createTime=1), "not like"),
        ({**tree("q", "a"), "messageMap": {"system": {"children": [], "parent": None}}}, "has 1 children"),
        ({key: value for key, value in tree("q", "a").items() if key != "lastMessageId"}, "missing"),
    ],
)
def test_what_differs_is_told(body: Any, why: str) -> None:
    with pytest.raises(Differs, match=why):
        Comparison().compare(SAMPLE, answer(body))


@pytest.mark.parametrize(
    "body", [{}, {"detail": "no"}, {"errors": ["no"]}, {"detail": "no", "errors": []}, {"detail": 1, "errors": ["no"]}]
)
def test_an_error_in_another_shape_is_noticed(body: Any) -> None:
    with pytest.raises(Differs, match="the error is"):
        Comparison().compare({**SAMPLE, "status": 404}, answer(body, 404))


def test_another_status_is_noticed_and_one_that_is_expected_is_not_exact() -> None:
    refused = answer({"detail": "no", "errors": ["no"]}, 400)
    with pytest.raises(Differs, match="status 400"):
        Comparison().compare(SAMPLE, refused)
    assert not Comparison().compare({**SAMPLE, "expect": {"status": [400], "why": "decided"}}, refused)
