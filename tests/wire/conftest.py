"""A client of the small views in `urls`, through the product's own middleware."""

from typing import Any

import pytest
from django.test import Client


@pytest.fixture
def client(settings: Any) -> Client:
    settings.ROOT_URLCONF = "tests.wire.urls"
    return Client(raise_request_exception=False)
