"""Without METRICS_TOKEN there is nothing to see, and nothing is counted."""

from pathlib import Path

import pytest
from rest_framework.test import APIClient

from bedrock_chat.metrics import instruments
from bedrock_chat.metrics.instruments import Counter
from tests.live import LiveServer
from tests.metrics.scrapes import TOKEN

NOBODY = "http://127.0.0.1:9"


@pytest.mark.django_db
def test_there_is_no_route() -> None:
    response, unknown = (APIClient().get(path, headers={"Authorization": "Bearer "}) for path in ("/metrics", "/no"))
    assert response.status_code == 404
    assert response.content.replace(b"/metrics", b"/no") == unknown.content


def test_nothing_is_counted_or_written(tmp_path: Path) -> None:
    with LiveServer(tmp_path, NOBODY) as server:
        assert server.call("GET", "/metrics", token=TOKEN)[0] == 404
    assert not (tmp_path / "metrics").exists()
    assert not instruments.recording()
    counter = Counter("bedrock_chat_switched_off_total", "Nothing.")
    try:
        counter.add()
        assert counter._series == {}
    finally:
        del instruments._known[counter.name]
