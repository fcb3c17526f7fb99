"""Packages that libraries import only because they are installed. Nothing here uses them, so no process loads them."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def left_out(*names: str) -> Iterator[None]:
    """While it lasts, an import of these packages fails, as if they were not installed.

    For the import of a library that then does without them. A package that is already loaded stays importable.
    Python raises ModuleNotFoundError for a module that is None in `sys.modules` (its reference, "The module cache").
    """
    absent = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]  # None is what makes the import fail
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]
