"""People and groups that were seen here: what a server without a pool finds."""

from typing import Any

import pytest

from bedrock_chat.identity.directory import finding
from bedrock_chat.identity.directory.types import MOST_GROUPS, MOST_PEOPLE, Group
from bedrock_chat.identity.models import User

pytestmark = [pytest.mark.both, pytest.mark.django_db]


def seen(username: str, *groups: str, **columns: Any) -> User:
    values = {"id": f"id-{username}", "email": f"{username}@example.com", **columns}
    return User.objects.create(username=username, token_groups=list(groups), **values)


def names(prefix: str) -> list[str]:
    return [person.name for person in finding.people(prefix)]


def group_names(prefix: str) -> list[str]:
    return [group.name for group in finding.groups(prefix)]


@pytest.mark.parametrize("prefix", ["a", "alice", "ALICE", "al.ice@ex", "AL.ICE@EX", "root-of"])
def test_a_person_is_found_by_name_address_or_login_in_any_case(prefix: str) -> None:
    alice = seen("Alice", email="al.ice@example.com", login="Root-of-all")
    seen("bob")
    (person,) = finding.people(prefix)
    assert (person.id, person.name, person.email) == (alice.pk, "Alice", "al.ice@example.com")


@pytest.mark.parametrize("prefix", ["élo", "ÉLO", "Élo"])
def test_case_is_folded_in_every_alphabet(prefix: str) -> None:
    seen("ÉloÏse")
    assert names(prefix) == ["ÉloÏse"]
    assert names(prefix + "ï") == ["ÉloÏse"]


@pytest.mark.parametrize("prefix", ["%", "_", "a%", "a_", "\\", "lice", "é.", "[", "^"])
def test_no_character_stands_for_another(prefix: str) -> None:
    seen("alice")
    seen("éva")
    assert names(prefix) == []


@pytest.mark.parametrize("prefix", ["", " ", "\t\n", "a\0", "\ud800"])
def test_what_is_blank_or_no_text_finds_nothing(prefix: str) -> None:
    seen("alice", "admins")
    seen("\t\n", "\t\n")
    assert finding.people(prefix) == []
    assert finding.groups(prefix) == []
    assert finding.person(prefix) is None


def test_no_more_than_ten_are_found_the_first_by_name() -> None:
    for number in range(15, 0, -1):
        seen(f"p{number:02}")
    assert names("p") == [f"p{number:02}" for number in range(1, MOST_PEOPLE + 1)]


def test_groups_are_those_of_the_last_tokens_by_name_each_once() -> None:
    seen("alice", "sales-emea", "Admin", "Sales-apac")
    seen("bob", "sales-emea", "marketing")
    seen("carol")
    assert finding.groups("SALES") == [Group("Sales-apac"), Group("sales-emea")]
    assert group_names("é") == []


def test_groups_are_found_in_any_case_of_every_alphabet() -> None:
    seen("alice", "Équipe")
    assert group_names("éq") == group_names("ÉQ") == ["Équipe"]


def test_no_more_than_a_hundred_groups_are_found() -> None:
    seen("alice", *(f"g{number:03}" for number in range(150)))
    assert group_names("g") == [f"g{number:03}" for number in range(MOST_GROUPS)]


def test_a_row_whose_groups_are_no_list_hides_nobody_elses() -> None:
    seen("alice", "sales")
    User.objects.create(id="odd", username="odd", token_groups={"sales": 1})
    User.objects.create(id="odder", username="odder", token_groups="sales")
    assert "sales" in group_names("sales")


def test_a_person_is_found_by_id_alone() -> None:
    alice = seen("alice")
    assert finding.person(alice.pk) is not None
    assert finding.person("alice") is None
    assert finding.person("alice@example.com") is None


def test_each_question_is_one_statement(django_assert_num_queries: Any) -> None:
    for number in range(20):
        seen(f"p{number}", f"g{number}")
    for ask in (lambda: finding.people("p"), lambda: finding.groups("g"), lambda: finding.person("id-p1")):
        with django_assert_num_queries(1):
            ask()
