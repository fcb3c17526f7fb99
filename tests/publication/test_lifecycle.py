"""Publishing a bot: what is no setting is refused by its name, in both spellings, and a bot is published once."""

from typing import Any

import pytest
from rest_framework.test import APIClient

from publication.models import ApiKey, Publication
from tests.bots.bot import body, make, share
from tests.publication.api import UNLIMITED, Api
from tests.together import at_once

pytestmark = pytest.mark.both

REFUSED: list[tuple[str, Any, str]] = [
    *(("stage", stage, "stage") for stage in ("", "a b", "a/b", "x" * 65, "ü", 5)),
    *(("quota", {"limit": 5, "period": period}, "quota.period") for period in ("YEAR", 5)),
    *(("quota", {"limit": limit, "period": "DAY"}, "quota.limit") for limit in (0, -1, 1.5, "5", True)),
    *(("quota", quota, "quota") for quota in (None, {"limit": 5}, {"period": "DAY"})),
    ("quota", {"limit": 5, "offset": 6, "period": "DAY"}, "quota.offset"),
    *(("throttle", throttle, "throttle") for throttle in (None, {"rateLimit": 1}, {"burst_limit": 1})),
    *(("throttle", {"rateLimit": rate, "burstLimit": 1}, "throttle.rateLimit") for rate in (0, -1, 1e9, "NaN", True)),
    *(("throttle", {"rate_limit": 1, "burst_limit": burst}, "throttle.burstLimit") for burst in (0, -1, 1.5)),
    *(("allowedOrigins", [origin], "allowedOrigins.0") for origin in ("a.example", "https://a.example/b", "ftp://a")),
    ("allowedOrigins", ["*"] * 101, "allowedOrigins"),
    ("allowed_origins", ["a.example"], "allowedOrigins.0"),
    *(("allowedNetworks", [network], "allowedNetworks.0") for network in ("a.example", "10.0.0.1/8", "1.2.3.0/33")),
    ("allowed_networks", ["x"], "allowedNetworks.0"),
    ("limitsScope", "bot", "limitsScope"),
    ("limits_scope", "bot", "limitsScope"),
]


@pytest.fixture
def shared(dave: APIClient) -> APIClient:
    """Dave, whose bot `helper` is shared with everybody."""
    make(dave, "helper")
    share(dave, "helper", "all")
    return dave


@pytest.mark.django_db
def test_what_is_no_setting_is_refused_by_its_name_and_changes_nothing(dave: APIClient, api: Api) -> None:
    before = Publication.objects.values().get()
    for name, value, field in REFUSED:
        answer = dave.patch("/bot/helper/publication", {name: value}, format="json")
        assert answer.status_code == 400, (name, value)
        [error] = answer.json()["errors"]
        assert error.startswith(f"{field}: "), (name, value, error)
    assert Publication.objects.values().get() == before


@pytest.mark.django_db
def test_what_cannot_be_published_is_refused_and_makes_no_key(dave: APIClient) -> None:
    make(dave, "helper")
    assert dave.post("/bot/helper/publication", UNLIMITED, format="json").status_code == 400  # not shared
    share(dave, "helper", "all")
    for name, value, _ in REFUSED:
        sent = {key: one for key, one in UNLIMITED.items() if (key, name) != ("allowedOrigins", "allowed_origins")}
        assert dave.post("/bot/helper/publication", {**sent, name: value}, format="json").status_code == 400, name
    assert not ApiKey.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_of_two_who_publish_at_once_one_is_told_that_it_is_published(shared: APIClient) -> None:
    """One change waits for the other, which is over in a moment: nobody ever sees one that runs."""

    def publish() -> int:
        return shared.post("/bot/helper/publication", UNLIMITED, format="json").status_code

    assert sorted(at_once(publish, publish)) == [200, 400]
    assert ApiKey.objects.count() == 1
    shown = [body(shared.get("/bot/helper/publication")) for _ in range(2)]
    assert shown[0] == shown[1]  # `codebuildId` too
    states = (shown[0]["codebuildStatus"], shown[0]["cfnStatus"])
    assert states == ("SUCCEEDED", "CREATE_COMPLETE")


@pytest.mark.django_db
def test_published_bots_are_listed_page_by_page(dave: APIClient, carol: APIClient) -> None:
    for bot_id in ("a", "b", "c", "unpublished"):
        make(dave, bot_id)
        share(dave, bot_id, "all")
    for bot_id in ("a", "b", "c"):
        body(dave.post(f"/bot/{bot_id}/publication", UNLIMITED, format="json"))
    first = body(carol.get("/admin/published-bots?limit=2"))
    assert [bot["id"] for bot in first["bots"]] == ["a", "b"]
    body(dave.delete("/bot/b/publication"))
    second = body(carol.get("/admin/published-bots", {"limit": 2, "next_token": first["nextToken"]}))
    assert ([bot["id"] for bot in second["bots"]], second["nextToken"]) == (["c"], None)
    whole = body(carol.get("/admin/published-bots"))
    assert ([bot["id"] for bot in whole["bots"]], whole["nextToken"]) == (["a", "c"], None)
