"""HTML: the main text by trafilatura, or by rules of our own; links and what the page's tags ask of robots."""

import copy
from pathlib import Path
from typing import Final
from urllib.parse import urldefrag, urljoin

from lxml import etree
from lxml import html as lxml_html

from bots.knowledge.reading.building import Builder
from bots.knowledge.reading.charsets import text_of
from bots.knowledge.reading.cleaning import clean, line
from bots.knowledge.reading.html_rules import text_by_rules
from bots.knowledge.reading.pages import Heading, Unreadable
from bots.knowledge.reading.plain import markdown_headings
from bots.knowledge.reading.requests import Request
from bots.knowledge.reading.unescaping import unescaped

MOST_LINKS: Final = 5_000
MOST_URL_CHARACTERS: Final = 2_000
MOST_ELEMENTS: Final = 50_000
"""Pages of more are read by rules alone: trafilatura's time grows faster than they do."""
FEW_CHARACTERS: Final = 200
"""Below this trafilatura may have taken the menu for the text."""
ROBOTS: Final = frozenset({"robots", "bedrock-chat"})
MADE_BY_JAVASCRIPT: Final = "this page is made by JavaScript."
_ROOTS: Final = frozenset({"root", "app", "__next", "__nuxt", "svelte", "main-app"})
"""Ids of the empty element that frameworks put a page into."""


def read_html(request: Request, builder: Builder) -> None:
    """A page's main text as Markdown. What it says of links and robots is known even where it has no text."""
    text, is_cut = text_of(
        Path(request.path), charset=request.charset, is_html=True, most_characters=request.most_characters
    )
    if is_cut:
        builder.note_cut()
    tree = _tree(text)
    _read_head(tree, builder)
    if request.url:
        _read_links(tree, request.url, builder)
    needs_javascript = _needs_javascript(tree)
    content, headings = _main_text(tree, request.url)
    if needs_javascript and len(content) < FEW_CHARACTERS:
        content, headings = "", []
    builder.missing = MADE_BY_JAVASCRIPT if needs_javascript else "this page holds no text."
    builder.begin()
    builder.add_marked(content, headings)


def _tree(text: str) -> lxml_html.HtmlElement:
    parser = lxml_html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True, no_network=True)
    body = text.replace("\0", "").encode("utf-8", "replace")
    try:
        tree = lxml_html.document_fromstring(body, parser=parser)
    except (etree.ParserError, ValueError) as error:
        raise Unreadable("this page holds no text.") from error
    return tree


def _read_head(tree: lxml_html.HtmlElement, builder: Builder) -> None:
    builder.title = line(tree.findtext(".//title") or "")
    if not builder.title and (heading := tree.find(".//h1")) is not None:
        builder.title = line(str(heading.text_content()))
    for tag in tree.iterfind(".//meta[@name]"):
        if tag.get("name", "").strip().lower() in ROBOTS:
            rules = {rule.strip() for rule in tag.get("content", "").lower().split(",")}
            builder.is_indexed &= not rules & {"noindex", "none"}
            builder.is_followed &= not rules & {"nofollow", "none"}


def _read_links(tree: lxml_html.HtmlElement, url: str, builder: Builder) -> None:
    """The page's links in their order, each once, without those that say `nofollow`."""
    base = tree.find(".//base[@href]")
    root = url if base is None else _absolute(url, base.get("href", "")) or url
    links: dict[str, None] = {}
    for tag in tree.iter("a", "area"):
        if "nofollow" in tag.get("rel", "").lower().split():
            continue
        if (link := _absolute(root, tag.get("href", ""))) and len(links) < MOST_LINKS:
            links[link] = None
    builder.links = tuple(links)
    for tag in tree.iterfind(".//link[@rel]"):
        if "canonical" in tag.get("rel", "").lower().split():
            builder.canonical = builder.canonical or _absolute(root, tag.get("href", ""))


def _absolute(root: str, reference: str) -> str:
    """The address as seen from `root`, without its fragment; nothing where it is none of the web."""
    reference = clean(reference).strip()
    if not reference or len(reference) > MOST_URL_CHARACTERS:
        return ""
    try:
        address = urldefrag(urljoin(root, reference)).url
    except ValueError:
        return ""
    is_of_web = address.lower().startswith(("http://", "https://"))
    return address if is_of_web and len(address) <= MOST_URL_CHARACTERS else ""


def _main_text(tree: lxml_html.HtmlElement, url: str) -> tuple[str, list[Heading]]:
    """The text with its headings."""
    if sum(1 for _ in tree.iter()) > MOST_ELEMENTS:
        return _by_rules(tree)
    import trafilatura  # noqa: PLC0415 - takes half a second

    try:
        extracted = trafilatura.extract(
            copy.deepcopy(tree), url=url or None, output_format="markdown", include_tables=True, include_comments=False
        )
    except (etree.Error, RecursionError, ValueError, TypeError, AttributeError, KeyError, IndexError):
        extracted = None  # a page that it fails at is read by rules
    text = clean(extracted or "")
    if len(text) >= FEW_CHARACTERS:
        return unescaped(text, markdown_headings(text))
    return _by_rules(tree)


def _by_rules(tree: lxml_html.HtmlElement) -> tuple[str, list[Heading]]:
    text = clean(text_by_rules(tree))
    return text, markdown_headings(text)


def _needs_javascript(tree: lxml_html.HtmlElement) -> bool:
    """Whether scripts are to make the page: it asks for them, or has an empty root for them."""
    if tree.find(".//script") is None:
        return False
    if any("javascript" in str(tag.text_content()).lower() for tag in tree.iter("noscript")):
        return True
    roots = [tag for tag in tree.iterfind(".//*[@id]") if tag.get("id", "").lower() in _ROOTS]
    has_text = any(text.strip() for text in tree.xpath("//body//text()[not(ancestor::script or ancestor::style)]"))
    return not has_text or any(not str(tag.text_content()).strip() for tag in roots)
