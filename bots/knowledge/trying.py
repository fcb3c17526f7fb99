"""A search of a bot's knowledge outside of any conversation, for who may edit the bot: what is found, and why."""

import time
from typing import Final

from django.conf import settings

from bedrock_chat.identity import rates
from bedrock_chat.identity.caller import Caller
from bedrock_chat.process.interruption import Interruption
from bots import access, chatting
from bots.knowledge import retrieval
from bots.knowledge.retrieval import RetrievalFault, Retrieved, Stopped
from bots.tools.tool import STOPPED, Context

RATE: Final = "60/m"


def search(bot_id: str, query: str, *, actor: Caller, interruption: Interruption) -> Retrieved:
    """What an answer to this question would be based on. Where nothing can be found, the note says why.

    The query is embedded at the caller's cost, outside of any transaction. `interruption` ends the search: what it
    returns then is for nobody. Raises NotFound, Forbidden and TooManyRequests.
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
    try:
        return retrieval.retrieve(context.bot, query, context)
    except RetrievalFault as fault:
        return Retrieved((), fault.sentence)
    except Stopped:
        return Retrieved((), STOPPED)
