"""The text of a page by rules on its tree, where trafilatura gives little: what is no menu, in the page's order."""

# ruff: noqa: SIM905 - sets of words, of which a line each would hide the rest

from typing import Final

from lxml import html as lxml_html

_LEFT_OUT: Final = frozenset(
    "script style noscript template svg math canvas iframe object embed nav footer aside button select textarea dialog "
    "head title".split()
)
_LEFT_OUT_ROLES: Final = frozenset({"navigation", "banner", "contentinfo", "search", "dialog", "alertdialog", "menu"})
_BLOCKS: Final = frozenset(
    "address article blockquote body br dd details div dl dt fieldset figcaption figure form header hgroup hr li main "
    "ol p pre section summary table tbody tfoot thead tr ul".split()
)
_HEADINGS: Final = {f"h{level}": level for level in range(1, 7)}
_CELLS: Final = frozenset({"td", "th"})


def text_by_rules(tree: lxml_html.HtmlElement) -> str:
    """The page's text as Markdown: headings with `#`, rows of tables with `|`, items with `-`.

    Walks the tree without recursion, since pages may be nested thousands deep.
    """
    body = tree.find(".//body")
    pieces: list[str] = []
    pending: list[tuple[lxml_html.HtmlElement, bool]] = [(tree if body is None else body, False)]
    while pending:
        element, is_over = pending.pop()
        if is_over:
            _close(element, pieces)
            continue
        if not _is_shown(element):
            _add(pieces, element.tail)
            continue
        _open(element, pieces)
        _add(pieces, element.text)
        pending.append((element, True))
        pending += [(child, False) for child in reversed(element)]
    return "\n\n".join(filter(None, map(_tidied, "".join(pieces).split("\n"))))


def _is_shown(element: lxml_html.HtmlElement) -> bool:
    if not isinstance(element.tag, str) or element.tag in _LEFT_OUT:
        return False
    is_hidden = element.get("hidden") is not None or element.get("aria-hidden") == "true"
    return not is_hidden and element.get("role", "") not in _LEFT_OUT_ROLES


def _open(element: lxml_html.HtmlElement, pieces: list[str]) -> None:
    if level := _HEADINGS.get(element.tag):
        pieces.append("\n" + "#" * level + " ")
    elif element.tag == "li":
        pieces.append("\n- ")
    elif element.tag in _BLOCKS:
        pieces.append("\n")


def _close(element: lxml_html.HtmlElement, pieces: list[str]) -> None:
    if element.tag in _CELLS:
        pieces.append(" | ")
    elif element.tag in _BLOCKS or element.tag in _HEADINGS:
        pieces.append("\n")
    _add(pieces, element.tail)


def _add(pieces: list[str], text: str | None) -> None:
    if text:
        pieces.append(text.replace("\n", " ").replace("\r", " "))


def _tidied(row: str) -> str:
    text = " ".join(row.split()).strip("| ")
    return "" if text in ("-", *("#" * level for level in range(1, 7))) else text
