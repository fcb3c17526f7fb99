"""What who may edit a bot asks of its knowledge beside an edit: another sync, or the end of the one that runs."""

from django.db import transaction

from bedrock_chat.audit import recording
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import BadRequest
from bots import access, verbs
from bots.configuration import searches_own_index
from bots.knowledge import revisions
from bots.models import Bot


def sync(bot_id: str, *, full: bool, actor: Caller) -> Bot:
    """Asks for a sync, for the bot's owner or Admin. One that is wanted already is the answer; with `full` another one
    follows it, which fetches and reads everything anew.

    Raises NotFound, Forbidden, and BadRequest for a bot that has nothing to index.
    """
    with transaction.atomic():
        bot = access.get_editable(actor, bot_id, lock=True)
        if not searches_own_index(bot.configuration):
            raise BadRequest("The bot has no files or addresses that are read.")
        revisions.request(bot_id, full=full)
        recording.record(verbs.SYNC_KNOWLEDGE, bot_id, actor=actor, values={"full": full})
    return bot


def cancel(bot_id: str, *, actor: Caller) -> Bot:
    """Ends the sync that is wanted or runs, for the bot's owner or Admin. What it has read stays.

    Raises NotFound and Forbidden.
    """
    with transaction.atomic():
        bot = access.get_editable(actor, bot_id, lock=True)
        if revisions.cancel(bot_id):
            recording.record(verbs.CANCEL_SYNC, bot_id, actor=actor)
    return bot
