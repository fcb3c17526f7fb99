"""What a benchmark says while it runs. It goes to stderr, since the document is on stdout."""

import sys


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
