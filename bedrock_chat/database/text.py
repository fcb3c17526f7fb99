"""Text that both databases can store: PostgreSQL keeps neither NUL nor lone surrogates, which have no UTF-8."""

from typing import Any


def is_storable(text: str) -> bool:
    """Whether both databases can keep this text as it is."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def storable(value: Any) -> Any:
    """The same JSON value, with U+FFFD for NUL and lone surrogates, so that any answer of a model can be stored."""
    match value:
        case str():
            if is_storable(value):
                return value
            return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case dict():
            return {storable(key): storable(inner) for key, inner in value.items()}
        case list():
            return [storable(inner) for inner in value]
    return value
