"""One reader for all tests that only want documents read, whose process is begun once; sites of this machine."""

from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Protocol

import pytest

from bedrock_chat.process.interruption import Interruption
from bots.knowledge.reading.pages import Reading
from bots.knowledge.reading.readers import Readers, kind_of_name


class Read(Protocol):
    def __call__(
        self,
        name: str,
        body: bytes | str | None = None,
        *,
        most_characters: int = ...,
        most_pages: int = ...,
        **options: str,
    ) -> Reading: ...


@pytest.fixture(scope="module")
def readers() -> Iterator[Readers]:
    readers = Readers(1)
    yield readers
    readers.end()


@pytest.fixture
def read(readers: Readers, tmp_path: Path) -> Read:
    """Reads the file of this name in the test's folder, of which `body` is written first if there is one."""

    def read(
        name: str,
        body: bytes | str | None = None,
        *,
        most_characters: int = 2_000_000,
        most_pages: int = 10_000,
        **options: str,
    ) -> Reading:
        path = tmp_path / name
        if body is not None:
            path.write_bytes(body.encode() if isinstance(body, str) else body)
        kind = kind_of_name(name)
        assert kind is not None
        return readers.read(
            str(path),
            kind,
            most_characters=most_characters,
            most_pages=most_pages,
            interruption=Interruption(),
            **options,
        )

    return read


@pytest.fixture
def local(settings: Any) -> None:
    """Sites of this machine may be crawled, as fast as they answer."""
    settings.OUTBOUND_ALLOW = ((ip_network("127.0.0.0/8"),), frozenset())
    settings.CRAWL_PAGES_PER_MINUTE = 100_000
