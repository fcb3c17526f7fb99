"""The pool's people and groups: moto's Cognito over HTTP, and a scripted one for what has to be seen on the wire."""

from typing import Any

import pytest
from django.db import transaction

from bedrock_chat.database.connections import TransactionOpen
from bedrock_chat.identity.directory import finding
from bedrock_chat.identity.directory.cognito import MOST_PAGES
from bedrock_chat.identity.directory.types import MOST_GROUPS, MOST_PEOPLE, Group, Person
from bedrock_chat.identity.models import User
from tests.pool import Answer, ScriptedPool, UserPool, refusal

pytestmark = pytest.mark.django_db(transaction=True)


def names(prefix: str) -> list[str]:
    return [person.name for person in finding.people(prefix)]


# ---- People ---------------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_person_is_found_by_address_and_by_name(pool: UserPool) -> None:
    alice = pool.add("alice", email="al.ice@example.com", name="Alice Liddell")
    pool.add("bob", name="Bob")
    expected = [Person(alice, "alice", "al.ice@example.com")]
    assert finding.people("al.ice@") == expected
    assert finding.people("Alice L") == expected
    assert finding.people("Ali") == expected  # by both, and once


def test_what_is_typed_in_capitals_is_looked_for_in_lower_case_too(pool: UserPool) -> None:
    pool.add("alice", name="alice")
    pool.add("ALAN", email="ALAN@example.com")
    assert sorted(names("AL")) == ["ALAN", "alice"]
    assert names("ALICE@EX") == ["alice"]


@pytest.mark.both
def test_people_seen_here_come_after_the_pools_and_nobody_twice(pool: UserPool) -> None:
    alice = pool.add("alice")
    User.objects.create(id=alice, username="alice", email="alice@example.com")
    User.objects.create(id="local:1", username="Alfred", email="fred@example.com")
    assert names("al") == ["alice", "Alfred"]


def test_no_more_than_ten_are_found(pool: UserPool) -> None:
    for number in range(12):
        pool.add(f"p{number}")
    User.objects.create(id="local:1", username="p-local")
    assert len(names("p")) == MOST_PEOPLE


@pytest.mark.parametrize(
    ("prefix", "values"),
    [
        ("al", ["al"]),
        ("Al", ["Al", "al"]),
        ('a"b', ['a\\"b']),
        ("a\\b", ["a\\\\b"]),
        ('\\" or email ^= "', ['\\\\\\" or email ^= \\"']),
        ("李", ["李"]),
    ],
)
def test_quotes_and_backslashes_are_escaped_and_equal_questions_asked_once(
    scripted: ScriptedPool, prefix: str, values: list[str]
) -> None:
    assert finding.people(prefix) == []
    searches = [(operation, parameters["Filter"], parameters["Limit"]) for operation, parameters in scripted.calls]
    expected = [f'{attribute} ^= "{value}"' for attribute in ("email", "name") for value in values]
    assert searches == [("ListUsers", condition, MOST_PEOPLE) for condition in expected]


def test_a_filter_is_never_longer_than_cognito_takes(scripted: ScriptedPool) -> None:
    finding.people('"' * 100)
    finding.people("İ" * 100)
    assert all(len(parameters["Filter"]) <= 256 for _, parameters in scripted.calls)


def test_once_ten_are_found_nothing_more_is_asked(scripted: ScriptedPool) -> None:
    users = [{"Username": f"a{number}", "Attributes": []} for number in range(MOST_PEOPLE)]
    scripted.answer = lambda *_: (200, {"Users": users})
    assert names("A") == [f"a{number}" for number in range(MOST_PEOPLE)]
    assert len(scripted.calls) == 1


def test_a_search_that_cognito_does_not_take_finds_nobody(scripted: ScriptedPool) -> None:
    scripted.answer = lambda *_: refusal("InvalidParameterException")
    assert finding.people("a\x7f") == []
    assert finding.person("a b") is None


# ---- One person -----------------------------------------------------------------------------------------------------


@pytest.mark.both
def test_a_person_is_found_by_the_id_that_search_tells(pool: UserPool) -> None:
    alice = pool.add("alice")
    assert finding.person(alice) == Person(alice, "alice", "alice@example.com")
    assert finding.person("alice") == Person(alice, "alice", "alice@example.com")
    assert finding.person("nobody") is None


def test_an_address_is_no_id_though_cognito_knows_it_as_an_alias(scripted: ScriptedPool) -> None:
    def alias(*_: Any) -> Answer:
        return 200, {"Username": "alice", "UserAttributes": [{"Name": "sub", "Value": "s-1"}]}

    scripted.answer = alias
    assert finding.person("alice@example.com") is None
    assert finding.person("s-1") == Person("s-1", "alice", "")


@pytest.mark.both
def test_who_is_seen_here_is_asked_for_by_user_name_and_known_without_the_pool(scripted: ScriptedPool) -> None:
    User.objects.create(id="s-1", username="Google_1", email="alice@example.com")
    assert finding.person("s-1") == Person("s-1", "Google_1", "alice@example.com")
    assert [parameters["Username"] for _, parameters in scripted.calls] == ["Google_1"]


@pytest.mark.parametrize("person_id", ["x" * 129, "x" * 5000])
def test_what_is_too_long_for_an_id_is_not_asked_for(scripted: ScriptedPool, person_id: str) -> None:
    assert finding.person(person_id) is None
    assert scripted.calls == []


# ---- Groups ---------------------------------------------------------------------------------------------------------


def test_groups_are_found_in_any_case_in_the_pools_order(pool: UserPool) -> None:
    pool.add_group("sales-team", "Those who sell")
    pool.add_group("marketing")
    pool.add_group("Sales-emea")
    assert finding.groups("SALES") == [Group("sales-team", "Those who sell"), Group("Sales-emea")]


def test_groups_of_later_pages_are_found(pool: UserPool) -> None:
    for number in range(70):
        pool.add_group(f"g{number}")
    assert finding.groups("g69") == [Group("g69")]


def test_reading_groups_ends_after_a_bound(scripted: ScriptedPool) -> None:
    page = [{"GroupName": "sales"}, {"GroupName": "marketing"}]
    scripted.answer = lambda *_: (200, {"Groups": page, "NextToken": "more"})
    assert len(finding.groups("sales")) == MOST_PAGES
    assert len(scripted.calls) == MOST_PAGES


def test_once_a_hundred_groups_are_found_no_more_are_read(scripted: ScriptedPool) -> None:
    page = [{"GroupName": f"g{number}"} for number in range(60)]
    scripted.answer = lambda *_: (200, {"Groups": page, "NextToken": "more"})
    assert len(finding.groups("g")) == MOST_GROUPS
    assert len(scripted.calls) == 2


# ---- How it is asked ------------------------------------------------------------------------------------------------


@pytest.mark.both
@pytest.mark.parametrize("ask", [finding.people, finding.groups, finding.person])
def test_the_pool_is_never_asked_inside_a_transaction(scripted: ScriptedPool, ask: Any) -> None:
    with transaction.atomic(), pytest.raises(TransactionOpen):
        ask("alice")
    assert scripted.calls == []


def test_a_blank_prefix_asks_nobody(scripted: ScriptedPool) -> None:
    assert finding.people(" ") == finding.groups("") == []
    assert scripted.calls == []
