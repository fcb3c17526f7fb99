from collections.abc import Iterator
from typing import Any

import pytest

from tests.pool import ScriptedPool, UserPool, moto, nobody, searched


@pytest.fixture(scope="package")
def moto_url() -> Iterator[str]:
    with moto() as url:
        yield url


@pytest.fixture
def pool(moto_url: str, settings: Any) -> Iterator[UserPool]:
    """An empty pool, which is the directory of this test."""
    made = UserPool.made_at(moto_url)
    with searched(made.url, made.id, settings):
        yield made


@pytest.fixture
def scripted(settings: Any) -> Iterator[ScriptedPool]:
    """A pool that has nobody until the test sets `answer`."""
    pool = ScriptedPool(nobody)
    with pool.serving(), searched(pool.service.url, pool.id, settings):
        yield pool
