"""A search of a bot's knowledge outside of any conversation, for who may edit the bot: what is found, and why."""

import time
from typing import Final

from django.conf import settings

from bedrock_chat.bedrock import document_links
from bedrock_chat.bedrock.retrieval import RetrievedPassage
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import rates
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process.interruption import Interruption
from bots import access, chatting
from bots.configuration import existing_knowledge_base
from bots.knowledge import retrieval
from bots.knowledge.retrieval import Passage, RetrievalFault, Retrieved, Stopped
from bots.tools import knowledge_base, results
from bots.tools.tool import STOPPED, Context, ToolFault

RATE: Final = "60/m"


def search(bot_id: str, query: str, *, actor: Caller, interruption: Interruption) -> Retrieved:
    """What an answer to this question would be based on. Where nothing can be found, the note says why.

    The query is embedded at the caller's cost, or the base that the bot names is asked, outside of any transaction.
    `interruption` ends the search: what it returns then is for nobody. Raises NotFound, Forbidden and TooManyRequests.
    """
    access.get_editable(actor, bot_id)
    rates.count("knowledge searches", by=actor.account, rate=RATE, refusal="Too many searches; wait a minute.")
    context = Context(
        deadline=time.monotonic() + settings.TOOL_SECONDS,
        interruption=interruption,
        caller=actor,
        bot=chatting.get(bot_id, actor=actor),
        conversation_external_id="",
    )
    base_id = existing_knowledge_base(context.bot.configuration)
    if base_id is not None:
        return _of_base(base_id, query, context)
    try:
        return retrieval.retrieve(context.bot, query, context)
    except RetrievalFault as fault:
        return Retrieved((), fault.sentence)
    except Stopped:
        return Retrieved((), STOPPED)


def _of_base(base_id: str, query: str, context: Context) -> Retrieved:
    """The passages of a base of AWS. Its scores are its own, and of what they are made it does not tell."""
    release_connection()  # the base is a network away
    try:
        passages = knowledge_base.of_base(context.bot.configuration, base_id, query, context)
    except ToolFault as fault:
        return Retrieved((), fault.sentence)
    return Retrieved(tuple(map(_passage, passages)))


def _passage(passage: RetrievedPassage) -> Passage:
    return Passage(
        text=results.clean(passage.text),
        score=passage.score or 0.0,
        similarity=None,
        words=0.0,
        document=0,
        name=results.clean(passage.source_name or ""),
        page=passage.page_number,
        chunks=(),
        link=document_links.readable(passage.source_link),
    )
