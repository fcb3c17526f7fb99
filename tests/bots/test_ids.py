"""Every id that a creation accepts names its bot in every address."""

import re

from django.urls import resolve

from bots.serializers.bots import RESERVED_IDS, is_bot_id
from tests.test_permissions import TABLE

ROUTES = sorted({route.split()[-1] for route in TABLE if "<str:bot_id>" in route})
WORDS = sorted({step for route in TABLE for step in route.split()[-1].split("/") if "<" not in step})
"""Whatever stands in an address beside ids."""

VALUES = {"<int:version>": "1", "<str:stage>": "api"}


def leads_to(route: str, bot_id: str) -> str:
    """The route that serves the address which a route makes of this bot's id."""
    address = route.replace("<str:bot_id>", bot_id)
    return str(resolve("/" + re.sub(r"<[^>]+>", lambda match: VALUES.get(match[0], "x"), address)).route)


def test_no_word_of_an_address_that_is_accepted_as_an_id_leads_elsewhere() -> None:
    assert len(ROUTES) > 20
    accepted = [word for word in WORDS if is_bot_id(word)]
    assert [(word, route) for word in accepted for route in ROUTES if leads_to(route, word) != route] == []


def test_only_words_that_would_lead_elsewhere_are_refused() -> None:
    for word in RESERVED_IDS - {"new"}:  # the frontend's page for a new bot
        assert [route for route in ROUTES if leads_to(route, word) != route], word
