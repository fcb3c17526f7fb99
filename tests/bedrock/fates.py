"""What becomes of a conversation's files."""

from typing import Any


def fates(body: Any) -> str:
    """Of each file of a request's body, oldest first: `s` it is sent, `-` a note stands in its place."""
    letters = ""
    for message in body["messages"]:
        for block in message["content"]:
            if "image" in block or "document" in block:
                letters += "s"
            elif "no longer sent" in block.get("text", ""):
                letters += "-"
    return letters
