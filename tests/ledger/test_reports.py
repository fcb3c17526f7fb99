"""Reports: to the hour, the dearest first, for those alone who may see them, naming nobody who need not be named."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from rest_framework.test import APIClient

from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity import local
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.rollups import making, refusals
from bedrock_chat.ledger.rollups.models import QuarterUsage
from bots import chatting
from bots.models import Bot
from tests import build
from tests.bots.bot import body, make, share
from tests.ledger.calls import NOON, call

pytestmark = [pytest.mark.both, pytest.mark.django_db]
ClientOf = Callable[..., APIClient]
HOUR = timedelta(hours=1)


@pytest.fixture
def alice(client_of: ClientOf) -> APIClient:
    return client_of("alice", "CreatingBotAllowed")


@pytest.fixture
def carol(client_of: ClientOf) -> APIClient:
    return client_of("carol", "Admin")


def id_of(name: str) -> str:
    return local.local_user(name).pk


def spend(name: str, price: str, at: datetime = NOON, **columns: Any) -> None:
    call(at, user_id=id_of(name), payer_id=id_of(name), price=Decimal(price), **columns).save()


def totals(client: APIClient, path: str, **query: Any) -> list[tuple[str, float]]:
    return [(row["id"], row["totalPrice"]) for row in body(client.get(path, query))]


# ---- People and bots, for Admin -------------------------------------------------------------------------------------


def test_the_dearest_people_come_first_and_then_the_lower_id(carol: APIClient) -> None:
    for name, price in (("alice", "1"), ("bob", "2"), ("dave", "1")):
        spend(name, price)
    spend("bob", "0.5", NOON + HOUR)
    expected = [(id_of("bob"), 2.0), *sorted([(id_of("alice"), 1.0), (id_of("dave"), 1.0)])]
    assert totals(carol, "/admin/users", start="2026030312", end="2026030312") == expected
    assert totals(carol, "/admin/users", start="2026030312", end="2026030313")[0] == (id_of("bob"), 2.5)
    assert totals(carol, "/admin/users", start="2026030313", end="2026030400") == [(id_of("bob"), 0.5)]
    assert totals(carol, "/admin/users", start="2026030312", end="2026030312", limit=1) == expected[:1]
    [first, *_] = body(carol.get("/admin/users?start=2026030312&end=2026030312"))
    assert first == {"id": id_of("bob"), "email": "bob@example.com", "totalPrice": 2.0}


def test_published_calls_count_for_the_bot_and_its_owner(alice: APIClient, carol: APIClient) -> None:
    make(alice, "helper")
    spend("bob", "1", bot_id="helper")
    call(NOON, user_id=None, payer_id=id_of("alice"), publication_id="p", key_id="k", bot_id="helper", price=2).save()
    hours = {"start": "2026030312", "end": "2026030312"}
    assert totals(carol, "/admin/users", **hours) == [(id_of("alice"), 2.0), (id_of("bob"), 1.0)]
    assert totals(carol, "/admin/public-bots", **hours) == [("helper", 3.0)]


def test_people_and_bots_that_are_no_longer_known_are_left_out(alice: APIClient, carol: APIClient) -> None:
    make(alice, "helper")
    spend("alice", "1", bot_id="helper")
    call(NOON, payer_id="erased:1", user_id="erased:1", bot_id="gone", price=9).save()
    hours = {"start": "2026030312", "end": "2026030312"}
    assert totals(carol, "/admin/users", **hours, limit=1) == [(id_of("alice"), 1.0)]
    assert totals(carol, "/admin/public-bots", **hours, limit=1) == [("helper", 1.0)]


def test_private_bots_are_listed_with_all_that_was_recorded(alice: APIClient, carol: APIClient) -> None:
    make(alice, "helper")
    spend("alice", "0.25", timezone.now(), bot_id="helper")
    assert body(carol.get("/admin/public-bots")) == [
        {
            "id": "helper",
            "title": "Title of helper",
            "description": "Description of helper",
            "isPublished": False,
            "publishedDatetime": None,
            "ownerUserId": id_of("alice"),
            "sharedScope": "private",
            "sharedStatus": "unshared",
            "totalPrice": 0.25,
        }
    ]


def test_without_hours_reports_are_of_today_in_the_zone_of_reports(carol: APIClient, settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "Pacific/Kiritimati"  # fourteen hours before UTC
    midnight = timezone.now() + 14 * HOUR
    midnight -= timedelta(hours=midnight.hour + 14, minutes=midnight.minute, seconds=midnight.second + 1)
    spend("alice", "1", timezone.now())
    spend("bob", "2", midnight)
    assert totals(carol, "/admin/users") == [(id_of("alice"), 1.0)]


def test_hours_are_those_of_the_zone_of_reports(carol: APIClient, settings: Any) -> None:
    settings.REPORT_TIME_ZONE = "Asia/Kathmandu"  # five hours and three quarters before UTC
    spend("alice", "1", datetime(2026, 3, 2, 18, 15, tzinfo=UTC))
    spend("bob", "1", datetime(2026, 3, 2, 18, 14, 59, tzinfo=UTC))
    for now in (NOON, datetime(2026, 5, 1, tzinfo=UTC)):
        for _ in making.steps(now):
            pass
        assert totals(carol, "/admin/users", start="2026030300", end="2026030300") == [(id_of("alice"), 1.0)]
        assert totals(carol, "/admin/users", start="2026030223", end="2026030223") == [(id_of("bob"), 1.0)]


@pytest.mark.parametrize("path", ["/admin/users", "/admin/public-bots"])
@pytest.mark.parametrize(
    "query",
    [
        *("start=2026030312", "end=2026030312", "start=2026030313&end=2026030312"),
        *("start=20260303&end=20260304", "start=2026133112&end=2026133113", "start=2026030324&end=2026030324"),
        *("start=0001010100&end=9999123123", "start=٢٠٢٦٠٣٠٣١٢&end=2026030313"),
        *("limit=0", "limit=1001", "limit=-1", "limit=x"),
    ],
)
def test_wrong_hours_and_limits_are_400(carol: APIClient, path: str, query: str) -> None:
    assert carol.get(f"{path}?{query}").status_code == 400


def test_only_admin_sees_reports(alice: APIClient) -> None:
    assert alice.get("/admin/users").status_code == alice.get("/admin/public-bots").status_code == 403


def test_a_report_takes_few_queries_however_many_people_there_are(
    carol: APIClient, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        spend(f"person{number}", "1", NOON + HOUR * number)
    for _ in making.steps(NOON + HOUR * 24 * 70):
        pass
    assert QuarterUsage.objects.count() == 12
    body(carol.get("/admin/users"))
    with django_assert_max_num_queries(10) as queries:
        assert len(totals(carol, "/admin/users", start="2026011500", end="2026060312")) == 12
    assert not [query for query in queries if "dimensionfault" in query["sql"]], "what no report shows is not read"


# ---- One bot, for its owner -----------------------------------------------------------------------------------------


def use(name: str, bot_id: str, times: int) -> None:
    """Somebody asks a bot some questions."""
    actor = Caller(user_id=id_of(name))
    helper = chatting.get(bot_id, actor=Caller(user_id=Bot.objects.get(pk=bot_id).owner_id))
    for _ in range(times):
        with Batch() as batch:
            chatting.note_turn(batch, helper, timezone.now(), is_use=True, actor=actor)


def think(name: str, bot_id: str | None, category: str, comment: str, *, thumbs_up: bool = False) -> None:
    conversation = build.conversation(local.local_user(name), bot_id=bot_id, title="A secret title")
    feedback = {"thumbsUp": thumbs_up, "category": category, "comment": comment}
    build.answer(build.question(conversation, "a secret question"), "a secret answer", feedback=feedback)


def test_the_owner_sees_how_a_bot_is_used_day_by_day(alice: APIClient) -> None:
    make(alice, "helper")
    share(alice, "helper", "all")
    use("bob", "helper", 2)
    use("dave", "helper", 1)
    spend("bob", "0.5", bot_id="helper")
    spend("dave", "0.25", NOON + HOUR * 24, bot_id="helper")
    spend("dave", "7", bot_id="other")
    usage = body(alice.get("/bot/helper/usage?start=2026030300&end=2026030423"))
    assert (usage["uses"], usage["people"], usage["calls"], usage["totalPrice"]) == (3, 2, 2, 0.75)
    assert [(day["day"], day["totalPrice"], day["inputTokens"]) for day in usage["days"]] == [
        ("2026-03-03", 0.5, 11),
        ("2026-03-04", 0.25, 11),
    ]
    call(user_id=None, payer_id=id_of("alice"), publication_id="p", key_id="k", bot_id="helper").save()
    assert body(alice.get("/bot/helper/usage?start=2026030300&end=2026030323"))["people"] == 1
    making.roll_up()
    assert body(alice.get("/bot/helper/usage?start=2026030300&end=2026030423"))["people"] == 2
    assert body(alice.get("/bot/helper/usage?start=2026030313&end=2026030422"))["people"] == 1
    lately = body(alice.get("/bot/helper/usage"))
    assert (lately["uses"], lately["people"], lately["days"]) == (3, 0, [])


def test_the_owner_sees_opinions_and_never_whose_they_are_or_of_what(alice: APIClient) -> None:
    make(alice, "helper")
    think("bob", "helper", "notFactuallyCorrect", "The tower is taller.")
    think("dave", "helper", "notFactuallyCorrect", "")
    think("dave", "helper", "", "", thumbs_up=True)
    think("dave", "other", "other", "Of another bot.")
    answer = alice.get("/bot/helper/usage")
    assert body(answer)["feedback"] == [
        {"category": "", "thumbsUp": 1, "thumbsDown": 0, "comments": []},
        {"category": "notFactuallyCorrect", "thumbsUp": 0, "thumbsDown": 2, "comments": ["The tower is taller."]},
    ]
    for word in ("secret", "bob", "dave", id_of("bob")):
        assert word not in answer.content.decode()


def test_a_stranger_does_not_see_how_a_bot_is_used(alice: APIClient, client_of: ClientOf, carol: APIClient) -> None:
    make(alice, "helper")
    share(alice, "helper", "all")
    assert client_of("bob").get("/bot/helper/usage").status_code == 403
    assert carol.get("/bot/helper/usage").status_code == 200
    assert alice.get("/bot/unknown/usage").status_code == 404


def test_a_bot_named_usage_is_opened_like_any_other(alice: APIClient) -> None:
    make(alice, "usage")
    assert body(alice.get("/bot/private/usage"))["id"] == "usage"


# ---- Commands -------------------------------------------------------------------------------------------------------


def printed(command: str, *arguments: str) -> str:
    out = StringIO()
    call_command(command, *arguments, stdout=out)
    return out.getvalue()


DAYS = ("--from", "2026-03-03", "--to", "2026-03-03")


def test_the_report_on_the_command_line_is_exact_in_every_format() -> None:
    call(price=Decimal("0.0000000001"), groups=["sales"], fault="ThrottlingException").save()
    call(price=Decimal("12345.0000000001"), groups=["sales"]).save()
    call(price=None, payer_id="bob", user_id="bob").save()
    table = printed("usage_report", *DAYS, "--by", "user").splitlines()
    assert [line.split()[0] for line in table] == ["user", "alice", "bob"]
    assert "12345.0000000002" in table[1]
    assert printed("usage_report", *DAYS, "--by", "group", "--format", "csv").splitlines() == [
        "group,calls,inputTokens,outputTokens,cacheReadTokens,cacheWriteTokens,price,unpricedCalls,throttles,faults",
        "sales,2,22,14,0,0,12345.0000000002,0,1,1",
    ]
    report = json.loads(printed("usage_report", *DAYS, "--by", "user", "--format", "json"))
    assert (report["zone"], report["rows"][0]["price"]) == ("UTC", "12345.0000000002")
    assert (report["rows"][1]["user"], report["rows"][1]["unpricedCalls"]) == ("bob", 1)
    assert report["rows"][0]["faults"] == {"ThrottlingException": 1}


def test_the_report_tells_what_limits_have_refused() -> None:
    refusals.count("quota", payer_id="alice")
    refusals.write()
    today = timezone.now().date().isoformat()
    report = json.loads(printed("usage_report", "--from", today, "--to", today, "--by", "bot", "--format", "json"))
    assert (report["rows"], report["refusals"]) == ([], {"quota": 1})


def test_a_name_cannot_command_the_terminal() -> None:
    call(groups=["\x1b[2Jsales"]).save()
    assert "\x1b" not in printed("usage_report", *DAYS, "--by", "group")


def test_days_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(CommandError):
        printed("usage_report", "--from", "2026-03-04", "--to", "2026-03-03", "--by", "user")


def test_prices_name_their_source_and_the_operators_own(settings: Any) -> None:
    settings.MODEL_PRICES = {"claude-v4.5-sonnet": {"input": 0.5}}
    lines = {line.split()[0]: line for line in printed("prices").splitlines()}
    assert "litellm" in lines["claude-v3-opus"]
    assert "2026-11-23" in lines["claude-v3-opus"]
    assert "MODEL_PRICES" in lines["claude-v4.5-sonnet"]
    assert lines["claude-v4.5-sonnet"].split()[1] == "0.5"


def test_a_rebuild_on_the_command_line_tells_how_many_days_it_made() -> None:
    noon = timezone.now().replace(hour=12)
    call(noon - HOUR * 48).save()
    assert printed("rebuild_rollups") == "3 days are made anew.\n"
    assert printed("rebuild_rollups", "--resume") == "3 days are made anew.\n"
    assert QuarterUsage.objects.get().calls == 1
