"""Large answers are freed when they are sent."""

import httpx
import pytest

from tests.hostile import bodies
from tests.hostile.costs import MEGABYTE, Meter
from tests.live import LiveServer
from tests.pictures import b64, picture

IMAGE = 3_900_000


def large_conversation(server: LiveServer, token: str, conversation: str, images: int) -> int:
    """A conversation of so many images of 3.9 MB, each in a question of its own. Returns the bytes of its answer."""
    for number in range(images):
        image = picture(size=(2 + number, 2), weight=IMAGE)
        content = [bodies.text("look"), bodies.image(b64(image))]
        question = bodies.turn(content, botId=None, conversationId=conversation)
        assert server.call("POST", "/conversation", question, token=token)[0] == 200
    return get(server, token, conversation)


def get(server: LiveServer, token: str, conversation: str) -> int:
    """The size of a conversation as it is answered."""
    size = 0
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream("GET", f"{server.url}/conversation/{conversation}", headers=headers, timeout=60) as answer:
        for piece in answer.iter_raw():
            size += len(piece)
    return size


@pytest.mark.parametrize(("images", "times", "most"), [(1, 12, 60), pytest.param(8, 200, 150, marks=pytest.mark.slow)])
def test_memory_stays_when_a_large_conversation_is_read_again_and_again(
    server: LiveServer, alice: str, meter: Meter, images: int, times: int, most: int
) -> None:
    size = large_conversation(server, alice, f"large-{images}", images)
    assert size > images * 5 * 1000 * 1000
    before = meter.memory()
    for _ in range(times):
        assert get(server, alice, f"large-{images}") == size
    assert meter.memory() - before < most * MEGABYTE
