"""What operators see of conversations and feedback, what they read of them, and what that leaves in the audit."""

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from bedrock_chat.audit.models import AuditEntry
from bedrock_chat.console import key_paging, roles
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.jobs import performing, queue
from bedrock_chat.jobs.models import Job
from bedrock_chat.people.models import Erasure
from conversations.models import Conversation, ConversationExport, Message
from conversations.operating import exporting, exports, looking, reading
from conversations.operating.exporting import Filters
from tests import build
from tests.console.operators import make_operator
from tests.ledger.calls import call

pytestmark = [pytest.mark.django_db, pytest.mark.both]

LIST = "/console/conversations/conversation/"
FEEDBACK = "/console/conversations/ratedmessage/"
BEGIN = "/console/conversations/conversationexport/begin/"
BAD = {"thumbsUp": False, "category": "notHelpful", "comment": "答えが間違っています <b>"}


def browser(role: roles.Role) -> Client:
    operator = make_operator(f"a-{role}")
    roles_group(operator, role)
    client = Client()
    client.force_login(operator)
    return client


def roles_group(operator: User, role: roles.Role) -> None:
    operator.groups.add(Group.objects.get(name=role.value))


@pytest.fixture
def alice() -> User:
    return User.objects.create(id="alice", username="アリス")


@pytest.fixture
def talk(alice: User) -> Conversation:
    """Alice's, in Japanese, with a branch, a tool, a file, a document, a rated answer, and two calls."""
    talk = build.conversation(alice, "c1", title="離婚の相談", size=2_000)
    first = build.exchange(talk, "秘密の質問 <script>alert(1)</script>")
    Message.objects.filter(pk=first.pk).update(feedback=BAD)
    build.related_document(first, "t1@0", source_name="契約書", content={"text": "第一条"})
    second = build.exchange(talk, "次の質問", under=first)
    blocks = [
        {"contentType": "toolUse", "body": {"toolUseId": "t1", "name": "検索", "input": {"q": "東京"}}},
        {"contentType": "attachment", "fileName": "報告.pdf", "blob": "0" * 64},
        *build.text("ツールの後"),
    ]
    Message.objects.filter(pk=second.pk).update(content=blocks)
    build.exchange(talk, "別の枝", under=first)
    question = first.parent
    assert question is not None
    at = timezone.now()
    for price in ("0.25", None):
        row = call(at, user_id="alice", conversation_external_id="c1", message_external_id=question.external_id)
        row.price = price
        row.save()
    return talk


def read(client: Client, talk: Conversation, reason: str = "complaint") -> Any:
    """Both steps, and what was said."""
    return client.post(f"{LIST}{talk.pk}/read/", {"reason": reason, "confirmed": "yes"}, follow=True)


# ---- Who may --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", [roles.Role.VIEWER, roles.Role.SUPPORT])
def test_only_an_admin_reads_or_exports_what_was_said(role: roles.Role, talk: Conversation) -> None:
    client = browser(role)
    for path in (f"{LIST}{talk.pk}/read/", f"{LIST}{talk.pk}/content/", BEGIN, BEGIN.replace("begin/", "")):
        assert client.get(path).status_code == 403, path
        assert client.post(path, {"reason": "complaint", "confirmed": "yes"}).status_code == 403, path
    page = client.get(f"{LIST}{talk.pk}/change/").content.decode()
    assert "Read what was said" not in page
    for shown in (page, client.get(LIST).content.decode()):
        assert "離婚" not in shown
        assert "秘密" not in shown
    assert not AuditEntry.objects.filter(target_kind__startswith="conversation").exists()


def test_support_reads_comments_and_a_viewer_counts(talk: Conversation) -> None:
    shown = browser(roles.Role.SUPPORT).get(FEEDBACK).content.decode()
    assert "答えが間違っています &lt;b&gt;" in shown
    shown = browser(roles.Role.VIEWER).get(FEEDBACK).content.decode()
    assert "答えが" not in shown
    assert "notHelpful" in shown


def test_a_persons_conversation_is_found_by_its_id_however_many_newer_ones_they_have(
    alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_paging, "SCANNED", 4)
    page = admin.site._registry[Conversation]
    monkeypatch.setattr(page, "list_per_page", 2)
    old = build.conversation(alice, "old")
    for number in range(10):
        build.conversation(alice, f"c{number}")
    answer: Any = browser(roles.Role.VIEWER).get(f"{LIST}?user=alice&q=old")
    assert [row.pk for row in answer.context["cl"].result_list] == [old.pk]


# ---- Reading --------------------------------------------------------------------------------------------------------


def test_a_look_has_a_reason_is_recorded_and_shows_the_whole_tree(talk: Conversation) -> None:
    client = browser(roles.Role.ADMIN)
    unconfirmed = client.get(f"{LIST}{talk.pk}/content/")
    assert unconfirmed.status_code == 302
    assert unconfirmed["Location"] == f"{LIST}{talk.pk}/read/"
    assert read(client, talk, "because I like to").status_code == 400
    assert not AuditEntry.objects.exists()
    response = read(client, talk)
    shown = response.content.decode()
    assert "no-store" in response["Cache-Control"]
    for words in ("離婚の相談", "秘密の質問", "ツールの後", "別の枝", "報告.pdf", "検索"):
        assert words in shown, words
    for words in ("東京", "契約書", "第一条", "答えが間違っています &lt;b&gt;", "a branch below 2"):
        assert words in shown, words
    assert "<script>alert" not in shown
    [entry] = AuditEntry.objects.all()
    assert (entry.verb, entry.target_kind, entry.target_id) == ("read", "conversation", "c1")
    assert entry.values == {"reason": "complaint", "user": ["alice"]}
    assert client.get(f"{LIST}{talk.pk}/content/").status_code == 200
    assert AuditEntry.objects.count() == 1, "one look, however many pages"


def test_a_look_is_of_one_conversation_and_ends(
    talk: Conversation, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = browser(roles.Role.ADMIN)
    other = build.conversation(alice, "c2")
    read(client, talk)
    assert client.get(f"{LIST}{other.pk}/content/").status_code == 302
    monkeypatch.setattr(looking, "LOOK_SECONDS", -1)
    read(client, talk)
    assert client.get(f"{LIST}{talk.pk}/content/").status_code == 302


def test_a_long_conversation_is_read_in_pages_that_are_bounded(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = build.long_conversation(alice, 50)
    page = reading.page_of(talk, 3)
    assert [message.number for message in page.messages] == list(range(41, 61))
    assert (page.pages, page.total) == (5, 100)
    assert reading.page_of(talk, 99).number == 5
    monkeypatch.setattr(reading, "MOST_CHARACTERS", 25)
    parts = [part for message in reading.page_of(talk, 1).messages for part in message.parts]
    assert sum(len(part.text) for part in parts) == 25
    assert sum(part.left_out for part in parts) > 0


def test_who_is_being_erased_is_read_and_exported_no_more(talk: Conversation) -> None:
    erasure = Erasure.objects.create(user_id="alice", asked_by="olga", asked_at=timezone.now())
    response = read(browser(roles.Role.ADMIN), talk)
    assert response.status_code == 409
    assert "being erased" in response.content.decode()
    assert lines(Filters()) == []
    assert not AuditEntry.objects.exists()
    erasure.delete()
    assert len(lines(Filters())) == 1


# ---- Lists ----------------------------------------------------------------------------------------------------------


def test_comments_of_who_is_being_erased_are_shown_to_nobody(talk: Conversation) -> None:
    Conversation.objects.filter(pk=talk.pk).update(feedback={**BAD, "comment": "全体の意見"})
    support = browser(roles.Role.SUPPORT)
    pages = [(FEEDBACK, "答えが間違っています"), (FEEDBACK.replace("message", "conversation"), "全体の意見")]
    for path, comment in pages:
        assert comment in support.get(path).content.decode()
    erasure = Erasure.objects.create(user_id="alice", asked_at=timezone.now())
    for path, comment in pages:
        assert comment not in support.get(path).content.decode()
    Erasure.objects.filter(pk=erasure.pk).update(begun_at=timezone.now(), finished_at=timezone.now(), refusal="a hold")
    for path, comment in pages:
        assert comment in support.get(path).content.decode()


def test_the_list_tells_cost_bot_and_size_in_a_bounded_number_of_queries(talk: Conversation, alice: User) -> None:
    client = browser(roles.Role.VIEWER)
    with CaptureQueriesContext(connection) as few:
        shown = client.get(LIST).content.decode()
    for words in ("アリス", "$0.2500, 1 call unpriced", "2.0", "c1"):
        assert words in shown, words
    for number in range(20):
        build.exchange(build.conversation(alice, f"more-{number}", bot_id=f"b{number}"), "質問")
    with CaptureQueriesContext(connection) as many:
        client.get(LIST)
    assert len(many) <= len(few) + 1  # the bots


def test_conversations_and_feedback_are_filtered(talk: Conversation, alice: User) -> None:
    bob = User.objects.create(id="bob", username="bob")
    old = timezone.now() - timedelta(days=60)
    first = Conversation.objects.get()
    Conversation.objects.filter(pk=first.pk).update(created_at=old)
    new = build.exchange(build.conversation(bob, "c2", bot_id="b1"), "質問")
    Message.objects.filter(pk=new.pk).update(feedback={**BAD, "category": "other"})
    client = browser(roles.Role.VIEWER)

    def ids(query: str) -> list[str]:
        return [row.external_id for row in client.get(f"{LIST}?{query}").context["cl"].result_list]

    assert ids("") == ["c2", "c1"]
    assert ids("user=alice") == ["c1"]
    assert ids("bot=b1") == ["c2"]
    assert ids("days=7") == ["c2"]
    assert ids("q=c1") == ["c1"]
    assert ids("q=bob") == ["c2"]
    assert ids("publication=none") == []

    def rated(query: str) -> list[int]:
        return [row.pk for row in client.get(f"{FEEDBACK}?{query}").context["cl"].result_list]

    assert rated("")[0] == new.pk
    assert rated("bot=b1") == [new.pk]
    assert rated("category=notHelpful") == [pk for pk in rated("") if pk != new.pk]
    assert rated("thumbs=up") == []
    assert len(rated("thumbs=any&days=7")) == 2


def test_pages_of_feedback_look_through_a_bounded_number(
    talk: Conversation, alice: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    from conversations.admin import feedback

    monkeypatch.setattr(feedback, "LOOKED_THROUGH", 5)
    [wanted] = Message.objects.filter(feedback__isnull=False)
    Message.objects.filter(pk=wanted.pk).update(feedback=BAD)
    for message in build.linear(build.conversation(alice, "c3"), 8, build.next_pk(Message)):
        message.feedback = {"thumbsUp": True, "category": "", "comment": ""}
        message.save()
    client = browser(roles.Role.VIEWER)
    page = client.get(FEEDBACK).context["cl"]
    assert list(page.result_list) == []
    assert page.looked_until is not None
    page = client.get(FEEDBACK + page.next_link).context["cl"]
    assert [row.pk for row in page.result_list] == [wanted.pk]


# ---- Exports --------------------------------------------------------------------------------------------------------


def lines(filters: Filters) -> list[Any]:
    """What an export of them has."""
    data = b"".join(piece.data for piece in exporting.pieces(filters, filters.keys()))
    return [json.loads(line) for line in data.splitlines()]


def test_an_export_has_feedback_cost_and_model_and_leaves_an_entry(talk: Conversation) -> None:
    client = browser(roles.Role.ADMIN)
    form = client.get(f"{BEGIN}?user=alice&days=7")
    assert form.status_code == 200
    today = form.context["form"]["last_day"].value()
    response = client.post(BEGIN, {"user_id": "alice", "first_day": today, "last_day": today})
    data = response.getvalue()
    [line] = [json.loads(line) for line in data.splitlines()]
    assert (line["id"], line["title"], line["userId"], line["model"]) == ("c1", "離婚の相談", "alice", build.MODEL)
    assert float(line["cost"]["price"]) == 0.25
    assert line["cost"]["unpricedCalls"] == 1
    question, answer = line["messages"][:2]
    [cost] = question["cost"].values()
    assert cost["calls"] == 2
    assert answer["feedback"] == BAD
    assert answer["parent"] == question["id"]
    assert line["relatedDocuments"][0]["sourceName"] == "契約書"
    [row] = ConversationExport.objects.all()
    assert (row.conversations, row.size) == (1, len(data))
    assert row.finished_at is not None
    [entry] = AuditEntry.objects.all()
    day = today.isoformat()
    assert (entry.verb, entry.target_id) == ("export", str(row.pk))
    assert entry.values == {"user": ["alice"], "first day": day, "last day": day}
    assert "done" in client.get(BEGIN.replace("begin/", "")).content.decode()


def test_an_export_is_made_in_small_pieces_and_says_how_far_it_is(alice: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "TELL_EVERY", 0)
    monkeypatch.setattr(exports, "PIECE", 1)
    for number in range(3):
        build.long_conversation(alice, 100, f"c{number}")
    client = browser(roles.Role.ADMIN)
    response = client.post(BEGIN, {})
    assert response.streaming
    pieces: Any = iter(response.streaming_content)
    longest = 0
    while not (row := ConversationExport.objects.get()).conversations:
        longest = max(longest, len(next(pieces)))
    assert row.finished_at is None
    page = client.get(BEGIN.replace("begin/", ""))
    assert "running, 33%" in page.content.decode()
    assert page["Refresh"] == "5"
    rest = list(pieces)
    assert max(longest, *map(len, rest)) < 100_000
    assert ConversationExport.objects.get().conversations == 3


def test_what_is_known_of_an_export_goes_after_a_month_without_another_one(talk: Conversation) -> None:
    exports.begin(Filters(), actor=Caller(user_id="olga", is_operator=True))
    job = Job.objects.get(kind=exports.FORGET_KIND)
    assert job.due_at > timezone.now() + exports.KEPT
    ConversationExport.objects.update(begun_at=timezone.now() - exports.KEPT)
    Job.objects.update(due_at=timezone.now())
    [claimed] = queue.claim("worker", 1)
    performing.perform(claimed)
    assert not ConversationExport.objects.exists()
    assert not Job.objects.exists()


def test_an_export_takes_both_days_or_none(talk: Conversation) -> None:
    client = browser(roles.Role.ADMIN)
    for days in ({"first_day": "2026-01-01"}, {"first_day": "2026-02-01", "last_day": "2026-01-01"}):
        assert client.post(BEGIN, days).status_code == 400
    assert not ConversationExport.objects.exists()


def test_the_command_writes_the_same_and_leaves_an_entry(talk: Conversation, tmp_path: Path) -> None:
    file = tmp_path / "talks.jsonl"
    call_command("export_conversations", "--user", "alice", "--to", str(file), stderr=io.StringIO())
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines(Filters())
    [entry] = AuditEntry.objects.all()
    assert (entry.actor_id, entry.target_id, entry.values) == ("export_conversations", "all", {"user": ["alice"]})
    with pytest.raises(CommandError):
        call_command("export_conversations", "--to", str(file))
    with pytest.raises(CommandError):
        call_command("export_conversations", "--from", "2026-03-01")


def test_filters_of_an_export_keep_what_they_say(talk: Conversation) -> None:
    today = timezone.now().date()
    assert len(lines(Filters(user_id="alice", first_day=today - timedelta(days=1), last_day=today))) == 1
    assert lines(Filters(user_id="bob")) == []
    assert lines(Filters(bot_id="b1")) == []
    long_ago = today - timedelta(days=40)
    assert lines(Filters(first_day=long_ago, last_day=long_ago)) == []
