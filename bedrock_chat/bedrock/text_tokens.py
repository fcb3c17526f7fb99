"""The likely tokens of a text, which `estimates` explains. Without Django, for what must do without it."""

import math
from typing import Final

ASCII_PER_TOKEN: Final = 4
OTHERS_PER_TOKEN: Final = 1.5


def text_tokens(text: str) -> int:
    """Likely tokens of a text."""
    others = 0 if text.isascii() else len(text) - len(text.encode("ascii", "ignore"))
    return math.ceil((len(text) - others) / ASCII_PER_TOKEN + others / OTHERS_PER_TOKEN)
