"""Rows that are made past Django's constructor are what it makes."""

from typing import Any

import pytest
from django.apps import apps
from django.db.models import Model
from django.db.models.signals import post_init, pre_init
from django.utils import timezone

from bedrock_chat.database.instances import loaded_row, new_row
from bedrock_chat.identity.local import local_user
from bedrock_chat.jobs.models import Job
from conversations.models import Conversation, Message

MODELS = [model for model in apps.get_models() if model.__module__.split(".")[0] != "django"]


def columns_of(row: Model) -> dict[str, Any]:
    """The columns of a row, with the types of values that are made anew for each row in place of these values."""
    columns = {name: value for name, value in vars(row).items() if name != "_state"}
    made = [field.attname for field in row._meta.concrete_fields if callable(field.default)]
    return columns | {name: type(columns[name]) for name in made}


def test_a_new_row_has_the_defaults_of_its_model() -> None:
    for model in MODELS:
        ours, theirs = new_row(model), model()
        assert columns_of(ours) == columns_of(theirs)
        assert vars(ours._state) == vars(theirs._state)


def test_nobody_listens_to_the_making_of_rows() -> None:
    for model in MODELS:
        assert not pre_init.has_listeners(model)
        assert not post_init.has_listeners(model)


def test_a_new_row_has_the_values_that_it_gets() -> None:
    values = {"external_id": "c", "user_id": "alice", "last_question": "q"}
    ours, theirs = new_row(Conversation, **values), Conversation(**values)
    assert vars(ours) | {"_state": None} == vars(theirs) | {"_state": None}


def test_no_two_rows_share_a_default_that_can_change() -> None:
    first, second = new_row(Job, kind="a"), new_row(Job, kind="b")
    first.payload["of the first"] = True
    assert second.payload == {}


@pytest.mark.parametrize("name", ["user", "pk", "nonsense"])
def test_a_value_that_is_no_column_is_a_mistake(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        new_row(Conversation, **{name: None})


@pytest.mark.django_db
def test_a_loaded_row_reads_its_other_columns_when_they_are_asked_for() -> None:
    now = timezone.now()
    owner = local_user("alice")
    conversation = Conversation.objects.create(external_id="c", user=owner, created_at=now, updated_at=now)
    content = [{"contentType": "text", "body": "hello"}]
    Message.objects.create(
        conversation=conversation, external_id="m", role="user", outcome="failed", created_at=now, content=content
    )
    columns, values = ("id", "external_id"), Message.objects.values_list("id", "external_id").get()
    ours, theirs = loaded_row(Message, columns, values), Message.from_db(None, columns, values)
    assert vars(ours) | {"_state": None} == vars(theirs) | {"_state": None}
    assert vars(ours._state) == vars(theirs._state)
    assert ours.content == content
    assert ours.conversation == conversation
