"""`internet_search`: one tool, and the engine that its owner has chosen. A failing engine asks no other one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from bedrock_chat.bedrock.tools import FoundDocument
from bedrock_chat.encryption.errors import EncryptionError
from bots import configuration as configurations
from bots.tools import duckduckgo, firecrawl, results, running
from bots.tools.tool import Context, Result, TextPart, Tool, ToolFault
from bots.tools.web import Page, Search

NAME: Final = "internet_search"
LONGEST_QUERY: Final = 1000
USUAL_LOCALE: Final = "en-us"
USUAL_DESCRIPTION: Final = "Search the internet for information."
SCHEMA: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {
        "query": {"type": "string", "description": "The query to search for on the internet."},
        "locale": {
            "type": "string",
            "default": USUAL_LOCALE,
            "description": "The language and the country that results shall be for, such as en-us, ja-jp or de-de.",
        },
        "time_limit": {
            "type": "string",
            "default": "",
            "description": "How old results may be: d (a day), w (a week), m (a month) or y (a year). "
            "Leave it empty unless the question is about something recent.",
        },
    },
    "required": ["query"],
}
_WORDS: Final = re.compile(r"(?<![a-z])(day|week|month|year|d|w|m|y)(?:s|ly)?(?![a-z])")
NOTHING: Final = "Nothing was found on the internet for this query."
UNREADABLE_KEY: Final = "The search's key cannot be read just now: an operator must look after it."
NO_KEY: Final = "The search has no key: the bot's owner must send it again."


def tool_of(tool: configurations.Tool, alias: str) -> Tool:
    """The tool of a bot, as it is configured. Without an engine it is DuckDuckGo's."""
    config = tool.get("firecrawl_config")
    is_firecrawl = tool.get("search_engine") == "firecrawl" and config is not None
    name = tool["name"]
    most = config["max_results"] if config is not None and is_firecrawl else duckduckgo.MOST_RESULTS

    def run(value: Mapping[str, Any], context: Context) -> Result:
        search = _search_of(value, most)
        if not is_firecrawl:
            return _result(duckduckgo.search(search, context))
        try:
            key = context.bot.secret(name)
        except EncryptionError:
            raise ToolFault(UNREADABLE_KEY, "settings") from None
        if not key:
            raise ToolFault(NO_KEY, "settings")
        return _result(firecrawl.search(search, key, context), secrets=[key])

    return Tool(
        alias=alias,
        description=tool["description"].strip() or USUAL_DESCRIPTION,
        schema=SCHEMA,
        kind="internet",
        is_read_only=True,
        server=firecrawl.SERVER if is_firecrawl else duckduckgo.SERVER,
        seconds=None,
        run=running.guarded(alias, run),
    )


def is_one(tool: configurations.Tool) -> bool:
    """Whether a bot's tool is of this kind: its type says so or, for a plain one, its name."""
    return tool["tool_type"] == "internet" or (tool["tool_type"] == "plain" and tool["name"] == NAME)


def _search_of(value: Mapping[str, Any], most: int) -> Search:
    query = " ".join(results.clean(value["query"]).split())
    if not query:
        raise ToolFault("The query is empty.", "input")
    if len(query) > LONGEST_QUERY:
        raise ToolFault(f"The query is longer than {LONGEST_QUERY} characters.", "input")
    locale = str(value.get("locale") or USUAL_LOCALE)
    return Search(
        query, locale.strip().lower().replace("_", "-")[:20], time_limit(str(value.get("time_limit") or "")), most
    )


def time_limit(wish: str) -> str | None:
    """`d`, `w`, `m` or `y` for whatever a model writes: `past month`, `1y`, `d(day)`. None where it says nothing."""
    match = _WORDS.search(wish.lower())
    return match[1][0] if match else None


def _result(pages: Sequence[Page], secrets: Sequence[str] = ()) -> Result:
    """Each page is a part, which begins with its title and its address, and a document for the reader."""
    if not pages:
        raise ToolFault(NOTHING, "empty")
    parts = [TextPart("\n".join(line for line in (page.title, page.url, page.text) if line)) for page in pages]
    documents = [
        FoundDocument(
            "", {"text": page.text or page.title}, "", source_name=page.title or page.url, source_link=page.url
        )
        for page in pages
    ]
    return results.of(parts, documents, secrets=secrets)
