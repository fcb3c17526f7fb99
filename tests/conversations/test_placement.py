"""The contract's rules on parents and retries, decided without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, strategies
from ulid import ULID

from bedrock_chat.wire.errors import BadRequest, Conflict
from conversations.models import Outcome
from conversations.tree import Node, Tree, new_answer_id
from conversations.turn.placement import Ask, AskAgain, Continue, Replay, place, place_continuation

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALIVE = NOW + timedelta(seconds=10)
EXPIRED = NOW - timedelta(seconds=1)


def question(pk: int, parent: int | None = None, **facts: Any) -> Node:
    facts = {"attempt": 1, "outcome": "answered", "lease_expires_at": None, "continues": None, **facts}
    return Node(
        pk=pk,
        external_id=f"q{pk}",
        parent_id=parent,
        role="user",
        stop_reason="",
        model="claude-v3.7-sonnet",
        **{"content_digest": f"d{pk}", **facts},
    )


def answer(pk: int, parent: int, **facts: Any) -> Node:
    facts = {"attempt": 1, "stop_reason": "end_turn", **facts}
    return Node(
        pk=pk,
        external_id=f"a{pk}",
        parent_id=parent,
        role="assistant",
        outcome="",
        lease_expires_at=None,
        continues=None,
        content_digest="",
        model="claude-v3.7-sonnet",
        **facts,
    )


def tree_of(*nodes: Node) -> Tree:
    return Tree.of(nodes, NOW)


def post(tree: Tree, *, last: Node | None = None, **ids: Any) -> Any:
    ids = {"message_external_id": None, "parent_external_id": None, "content_digest": "new", **ids}
    return place("c", tree, last, **ids)


def post_continuation(tree: Tree, *, last: Node | None = None, parent_external_id: str | None = None) -> Any:
    return place_continuation("c", tree, last, parent_external_id=parent_external_id)


TWO_TURNS = (question(1), answer(2, 1), question(3, 2), answer(4, 3))


def test_the_first_question_stands_under_system() -> None:
    assert post(tree_of()) == Ask(None)


def test_a_new_conversation_ignores_an_unknown_parent() -> None:
    assert post(tree_of(), parent_external_id="nope") == Ask(None)


def test_null_appends_to_the_last_message() -> None:
    tree = tree_of(*TWO_TURNS)
    assert post(tree, last=tree.nodes[4]) == Ask(tree.nodes[4])


def test_an_answers_id_branches_there() -> None:
    tree = tree_of(*TWO_TURNS)
    assert post(tree, last=tree.nodes[4], parent_external_id="a2") == Ask(tree.nodes[2])


def test_a_questions_id_means_its_own_parent() -> None:
    tree = tree_of(*TWO_TURNS)
    assert post(tree, last=tree.nodes[4], parent_external_id="q3") == Ask(tree.nodes[2])
    assert post(tree, last=tree.nodes[4], parent_external_id="q1") == Ask(None)


def test_system_edits_the_first_message() -> None:
    tree = tree_of(*TWO_TURNS)
    assert post(tree, last=tree.nodes[4], parent_external_id="system") == Ask(None)


def test_an_unknown_parent_is_refused_once_there_is_an_answer() -> None:
    tree = tree_of(*TWO_TURNS)
    with pytest.raises(BadRequest):
        post(tree, last=tree.nodes[4], parent_external_id="nope")


def test_while_nothing_is_answered_the_parent_is_ignored() -> None:
    tree = tree_of(question(1, lease_expires_at=ALIVE, outcome="failed"))
    assert post(tree, last=tree.nodes[1], parent_external_id="nope") == Ask(None)
    assert post(tree, last=tree.nodes[1]) == Ask(None)


def test_an_unfinished_answer_cannot_be_a_parent_yet() -> None:
    running = question(3, 2, lease_expires_at=ALIVE, outcome="interrupted")
    tree = tree_of(*TWO_TURNS[:2], running, answer(4, 3, stop_reason="interrupted"))
    with pytest.raises(Conflict) as refused:
        post(tree, last=running, parent_external_id="a4")
    assert refused.value.extra == {"conversationId": "c", "messageId": "q3"}


def test_an_answer_being_continued_cannot_be_a_parent_meanwhile() -> None:
    tree = tree_of(question(1, attempt=2, lease_expires_at=ALIVE, continues=2), answer(2, 1, stop_reason="stopped"))
    for ids in ({"parent_external_id": "a2"}, {}):
        with pytest.raises(Conflict):
            post(tree, last=tree.nodes[2], **ids)


def test_the_answer_that_a_running_turn_will_write_is_no_unknown_parent() -> None:
    """Its id was told at the opening, and no checkpoint has written its row yet."""
    running = question(3, 2, lease_expires_at=ALIVE, outcome="failed", attempt=2)
    tree = tree_of(*TWO_TURNS[:2], running)
    answer_id = new_answer_id(3, 2)
    for decide in (post, post_continuation):
        with pytest.raises(Conflict) as refused:
            decide(tree, last=running, parent_external_id=answer_id)
        assert refused.value.headers["Retry-After"] == "10"
        assert refused.value.extra == {"conversationId": "c", "messageId": "q3"}


@pytest.mark.parametrize(
    ("running", "parent"),
    [
        (question(3, 2, lease_expires_at=ALIVE, attempt=2), new_answer_id(3, 1)),
        (question(3, 2, lease_expires_at=ALIVE, attempt=2), new_answer_id(4, 2)),
        (question(3, 2, lease_expires_at=ALIVE, attempt=2), "01JQZZZZZZZZZZZZZZZZZZZZZZ"),
        (question(3, 2, lease_expires_at=EXPIRED, attempt=2), new_answer_id(3, 2)),
        (question(3, 2, attempt=2), new_answer_id(3, 2)),
    ],
)
def test_the_answer_of_another_attempt_or_of_a_killed_turn_is_unknown(running: Node, parent: str) -> None:
    tree = tree_of(*TWO_TURNS[:2], running)
    with pytest.raises(BadRequest):
        post(tree, last=running, parent_external_id=parent)


@given(strategies.integers(1, 2**40), strategies.integers(1, 100))
def test_ids_of_answers_are_unlike_and_have_the_form_of_all_others(pk: int, attempt: int) -> None:
    ids = {new_answer_id(pk, attempt), new_answer_id(pk, attempt + 1), new_answer_id(pk + 1, attempt)}
    assert len(ids) == 3
    assert all(str(ULID.from_str(external_id)) == external_id for external_id in ids)


def test_the_partial_answer_of_a_killed_turn_is_an_ordinary_parent() -> None:
    killed = question(1, lease_expires_at=EXPIRED, outcome="interrupted")
    tree = tree_of(killed, answer(2, 1, stop_reason="interrupted"))
    assert post(tree, parent_external_id="a2") == Ask(tree.nodes[2])


@pytest.mark.parametrize("external_id", ["system", "instruction", "a2"])
def test_the_roots_and_answers_cannot_be_sent_again(external_id: str) -> None:
    tree = tree_of(*TWO_TURNS)
    with pytest.raises(BadRequest):
        post(tree, message_external_id=external_id)


def test_the_same_question_answered_is_given_its_newest_answer() -> None:
    tree = tree_of(question(1), answer(2, 1), answer(3, 1))
    assert post(tree, message_external_id="q1", content_digest="d1") == Replay(tree.nodes[1], tree.nodes[3])


def test_a_repeat_ignores_the_parent() -> None:
    tree = tree_of(*TWO_TURNS)
    placed = post(tree, message_external_id="q1", content_digest="d1", parent_external_id="nope")
    assert placed == Replay(tree.nodes[1], tree.nodes[2])


def test_the_same_id_with_other_content_is_a_conflict() -> None:
    tree = tree_of(*TWO_TURNS)
    with pytest.raises(Conflict):
        post(tree, message_external_id="q1", content_digest="other")


def test_a_running_question_is_a_conflict_for_the_seconds_left() -> None:
    tree = tree_of(question(1, lease_expires_at=ALIVE, outcome="failed"))
    with pytest.raises(Conflict) as refused:
        post(tree, message_external_id="q1", content_digest="d1")
    assert refused.value.headers["Retry-After"] == "10"


@pytest.mark.parametrize(("left", "asks"), [(0.1, 1), (15, 15), (16, 15), (3566, 15), (10**8, 15)])
def test_nobody_is_asked_to_wait_longer_than_a_lease(left: float, asks: int) -> None:
    """More is left than was given where the clock was set back meanwhile."""
    tree = tree_of(question(1, lease_expires_at=NOW + timedelta(seconds=left), outcome="failed"))
    with pytest.raises(Conflict) as refused:
        post(tree, message_external_id="q1", content_digest="d1")
    assert refused.value.headers["Retry-After"] == str(asks)


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.INTERRUPTED])
@pytest.mark.parametrize("lease", [None, EXPIRED])
def test_a_failed_or_interrupted_question_is_asked_again(outcome: Outcome, lease: datetime | None) -> None:
    tree = tree_of(question(1, outcome=outcome, lease_expires_at=lease))
    assert post(tree, message_external_id="q1", content_digest="d1") == AskAgain(tree.nodes[1])


def test_without_an_id_only_a_failed_twin_is_asked_again() -> None:
    failed = question(3, 2, outcome="failed", content_digest="same")
    running = question(5, 2, outcome="failed", content_digest="same", lease_expires_at=ALIVE)
    answered = question(6, 2, content_digest="same")
    tree = tree_of(*TWO_TURNS[:2], failed)
    assert post(tree, last=failed, content_digest="same") == AskAgain(failed)
    tree = tree_of(*TWO_TURNS[:2], running, answered, answer(7, 6))
    assert post(tree, parent_external_id="a2", content_digest="same") == Ask(tree.nodes[2])


def test_a_twin_under_another_parent_is_another_question() -> None:
    failed = question(1, outcome="failed", content_digest="same")
    tree = tree_of(failed, question(2), answer(3, 2))
    assert post(tree, parent_external_id="a3", content_digest="same") == Ask(tree.nodes[3])


# ---- lastMessageId --------------------------------------------------------------------------------------------------


def test_the_last_message_is_the_answer_of_the_turn_opened_last() -> None:
    tree = tree_of(*TWO_TURNS)
    assert tree.last_message("q3") is tree.nodes[4]


def test_while_the_last_turn_runs_its_question_is_last() -> None:
    tree = tree_of(*TWO_TURNS[:3])
    assert tree.last_message("q3") is tree.nodes[3]


def test_after_a_failed_retry_the_newest_leaf_below_the_question_is_last() -> None:
    tree = tree_of(
        question(1, attempt=3, outcome="failed"), answer(2, 1), question(3, 2), answer(4, 3), answer(5, 1, attempt=2)
    )
    assert tree.last_message("q1") is tree.nodes[5]


def test_an_older_turn_that_ends_later_does_not_displace_an_edit() -> None:
    tree = tree_of(question(1), question(2), answer(3, 2), answer(4, 1))
    assert tree.last_message("q2") is tree.nodes[3]


# ---- Continuations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop_reason", ["max_tokens", "interrupted", "stopped"])
def test_an_answer_that_was_cut_short_is_continued(stop_reason: str) -> None:
    tree = tree_of(question(1), answer(2, 1, stop_reason=stop_reason))
    for external_id in ("a2", None):
        placed = place_continuation("c", tree, tree.nodes[2], parent_external_id=external_id)
        assert placed == Continue(tree.nodes[1], tree.nodes[2])


@pytest.mark.parametrize("external_id", ["q1", "system", "nope"])
def test_only_an_answer_is_continued(external_id: str) -> None:
    tree = tree_of(question(1), answer(2, 1, stop_reason="max_tokens"))
    with pytest.raises(BadRequest):
        place_continuation("c", tree, tree.nodes[2], parent_external_id=external_id)


def test_a_complete_answer_is_not_continued() -> None:
    tree = tree_of(question(1), answer(2, 1))
    with pytest.raises(BadRequest):
        place_continuation("c", tree, tree.nodes[2], parent_external_id="a2")


def test_an_answer_with_messages_below_is_not_continued() -> None:
    tree = tree_of(question(1), answer(2, 1, stop_reason="max_tokens"), question(3, 2), answer(4, 3))
    with pytest.raises(BadRequest):
        place_continuation("c", tree, tree.nodes[4], parent_external_id="a2")


@pytest.mark.parametrize("continues", [None, 2])
def test_no_continuation_while_a_turn_of_that_question_runs(continues: int | None) -> None:
    running = question(1, attempt=2, lease_expires_at=ALIVE, continues=continues)
    tree = tree_of(running, answer(2, 1, stop_reason="max_tokens"))
    with pytest.raises(Conflict):
        place_continuation("c", tree, tree.nodes[2], parent_external_id="a2")
