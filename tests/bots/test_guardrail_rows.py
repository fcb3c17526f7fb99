"""What a row of a bot's guardrail may say."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction

from bots.models import BotGuardrail

pytestmark = [pytest.mark.django_db, pytest.mark.both]

MADE = {"arn": "a", "version": "1", "filters": {"HATE": "LOW"}}


@pytest.mark.parametrize("columns", [{}, {"is_asked_for": True}, {"arn": "a"}, MADE])
def test_what_a_row_may_say(columns: dict[str, Any]) -> None:
    BotGuardrail.objects.create(bot_id="b", **columns)


def test_what_no_row_says() -> None:
    BotGuardrail.objects.create(bot_id="other", **MADE)
    for columns in (
        {"version": "1", "filters": {}},  # of no guardrail
        {"arn": "b", "version": "1"},  # which blocks nobody knows what
        {"arn": "b", "filters": {}},  # of no version
        {"arn": "b", "is_asked_for": True},  # two, perhaps
        {"arn": "a"},  # another bot's
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            BotGuardrail.objects.create(bot_id="b", **columns)
    with pytest.raises(IntegrityError), transaction.atomic():
        BotGuardrail.objects.create(bot_id="other")
