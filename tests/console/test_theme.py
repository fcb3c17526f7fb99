"""The console's colours: whichever one an operator chooses, text in it and on it can be read."""

import random
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from bedrock_chat import environment
from bedrock_chat.console import theme

CHOSEN = ["#000000", "#ffffff", "#ffd400", "#4f46e5", "#ff0000", "#808080"]


def test_text_can_be_read_in_any_colour() -> None:
    rng = random.Random(3)
    for colour in [*CHOSEN, *(f"#{rng.randrange(2**24):06x}" for _ in range(200))]:
        primary = {weight: theme._parsed(text) for weight, text in theme.colours(colour)["primary"].items()}
        assert theme.contrast(primary["600"], theme.WHITE) >= 4.5
        assert theme.contrast(primary["600"], theme.LIGHT_PAGE) >= 4.5
        assert theme.contrast(primary["500"], theme.DARK_PAGE) >= 4.5
        assert len(primary) == 11


def test_a_colour_that_can_be_read_stays_as_it_was_chosen() -> None:
    assert theme.colours("#4f46e5")["primary"]["600"] == "#4f46e5"


@pytest.mark.parametrize("colour", ["red", "#fff", "4f46e5", "#4f46e5;}", "#12345g"])
def test_what_is_no_colour_stops_the_start(monkeypatch: pytest.MonkeyPatch, colour: str) -> None:
    monkeypatch.setenv("CONSOLE_COLOR", colour)
    with pytest.raises(ImproperlyConfigured, match="CONSOLE_COLOR must be a colour"):
        environment.colour("CONSOLE_COLOR", "#4f46e5")


def test_what_is_no_picture_stops_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path
    (folder / "logo.svg").write_text("<svg/>")
    (folder / "logo.html").write_text("<b>")
    (folder / "large.png").write_bytes(b"x" * (environment.LARGEST_PICTURE + 1))
    assert environment.picture("CONSOLE_LOGO") is None
    monkeypatch.setenv("CONSOLE_LOGO", str(folder / "logo.svg"))
    assert environment.picture("CONSOLE_LOGO") == folder / "logo.svg"
    for name in ("logo.html", "large.png", "missing.svg"):
        monkeypatch.setenv("CONSOLE_LOGO", str(folder / name))
        with pytest.raises(ImproperlyConfigured, match="CONSOLE_LOGO"):
            environment.picture("CONSOLE_LOGO")
