"""How the theme (django-unfold) is configured: names, and the colours of the chat page with one that operators choose.

The theme takes a colour in eleven weights. Weight 600 is under white text and on white, 500 is on the dark page: both
are moved from the chosen colour until text can be read there (WCAG AA, 4.5 : 1), whatever was chosen.
"""

from typing import Any, Final

from django.urls import reverse_lazy

Rgb = tuple[float, float, float]

WHITE: Final[Rgb] = (255, 255, 255)
BLACK: Final[Rgb] = (0, 0, 0)
DARK_PAGE: Final[Rgb] = (0x30, 0x30, 0x38)
"""The lightest background that the dark page has under text of the chosen colour."""
LIGHT_PAGE: Final[Rgb] = (0xF2, 0xF2, 0xEF)
"""The darkest background that the light page has under it."""
READABLE: Final = 4.6
STEPS: Final = 100

MIXED: Final = {
    "50": (WHITE, 0.94),
    "100": (WHITE, 0.88),
    "200": (WHITE, 0.76),
    "300": (WHITE, 0.58),
    "400": (WHITE, 0.4),
}
"""Weight → with what the chosen colour is mixed, and how much of that."""
DARKENED: Final = {"700": 0.18, "800": 0.34, "900": 0.48, "950": 0.66}

GREYS: Final = {
    "50": "#f8f8f6",
    "100": "#f2f2ef",
    "200": "#e6e6e2",
    "300": "#d6d6d1",
    "400": "#a2a2ad",
    "500": "#63636c",
    "600": "#45454d",
    "700": "#3d3d47",
    "800": "#303038",
    "900": "#17171b",
    "950": "#111114",
}
"""Those of the chat page."""

FONT: Final = {
    "subtle-light": "var(--color-base-500)",
    "subtle-dark": "var(--color-base-400)",
    "default-light": "var(--color-base-600)",
    "default-dark": "#d2d2d8",
    "important-light": "#1d1d21",
    "important-dark": "#ececf0",
}


def configuration(chosen: str, *, has_logo: bool) -> dict[str, Any]:
    """The setting UNFOLD. Addresses are functions, since the theme would look up texts among the static files."""
    icon = {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: "/static/bedrock_chat/favicon.svg"}
    return {
        "SITE_TITLE": "Bedrock Chat console",
        "SITE_HEADER": "Bedrock Chat",
        "SITE_SYMBOL": "forum",
        "SITE_URL": None,  # the product has no pages of its own to link to
        "SITE_FAVICONS": [icon],
        "SITE_LOGO": (lambda _request: "/console/logo") if has_logo else None,
        "COLORS": colours(chosen),
        "BORDER_RADIUS": "10px",  # as on the chat page
        "STYLES": [lambda _request: "/static/bedrock_chat/console.css"],
        "SHOW_BACK_BUTTON": False,
        "SHOW_VIEW_ON_SITE": False,
        "ACCOUNT": {"navigation": [{"title": "Your account", "link": reverse_lazy("admin:account")}]},
        "SHOW_HISTORY": False,  # Django's log of its admin is not written: the audit has who did what
    }


def colours(chosen: str) -> dict[str, dict[str, str]]:
    """The theme's colours for a chosen one, `#rrggbb`."""
    rgb = _parsed(chosen)
    strong = _moved(rgb, towards=BLACK, on=LIGHT_PAGE)
    bright = _moved(rgb, towards=WHITE, on=DARK_PAGE)
    weights = {
        **{weight: _text(_mixed(rgb, other, part)) for weight, (other, part) in MIXED.items()},
        "500": _text(bright),
        "600": _text(strong),
        **{weight: _text(_mixed(strong, BLACK, part)) for weight, part in DARKENED.items()},
    }
    return {"primary": weights, "base": dict(GREYS), "font": dict(FONT)}


def contrast(one: Rgb, other: Rgb) -> float:
    """WCAG's ratio of contrast, 1 to 21."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _moved(rgb: Rgb, *, towards: Rgb, on: Rgb) -> Rgb:
    """The colour, mixed with black or white just as much as it takes to be read on a background."""
    steps = (_mixed(rgb, towards, step / STEPS) for step in range(STEPS + 1))
    return next(colour for colour in steps if contrast(colour, on) >= READABLE)


def _mixed(rgb: Rgb, other: Rgb, part: float) -> Rgb:
    red, green, blue = (one * (1 - part) + two * part for one, two in zip(rgb, other, strict=True))
    return (red, green, blue)


def _luminance(rgb: Rgb) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (value / 255 for value in rgb)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parsed(text: str) -> Rgb:
    red, green, blue = (int(text[place : place + 2], 16) for place in (1, 3, 5))
    return (red, green, blue)


def _text(rgb: Rgb) -> str:
    return "#" + "".join(f"{round(value):02x}" for value in rgb)
