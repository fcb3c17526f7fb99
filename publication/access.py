"""Access to publications and their keys: rows by id, for a caller who may do what they want with them."""

from bedrock_chat.identity.caller import PUBLISH_ALLOWED, Caller
from bedrock_chat.wire.errors import BadRequest, Forbidden
from bots import access as bots_access
from bots.models import Bot
from publication.models import ApiKey, Publication


def get_bot(actor: Caller, bot_id: str, *, lock: bool = False) -> Bot:
    """A bot whose publication the caller may see and change: its owner, in the group PublishAllowed, or Admin.

    Raises Forbidden, and NotFound for an unknown id. With `lock`, the bot's row is locked until the transaction ends.
    """
    if not actor.is_in(PUBLISH_ALLOWED):
        raise Forbidden("You may not publish bots: that takes the group PublishAllowed.")
    return bots_access.get_editable(actor, bot_id, lock=lock)


def get_publication(actor: Caller, bot_id: str, *, lock: bool = False) -> Publication:
    """The publication of a bot, for its owner or Admin.

    Raises what `get_bot` raises, and BadRequest for a bot that is not published. With `lock`, the bot's row is locked.
    """
    bot = get_bot(actor, bot_id, lock=lock)
    publication = Publication.objects.filter(bot=bot).first()
    if publication is None:
        raise not_published(bot_id)
    publication.bot = bot
    return publication


def not_published(bot_id: str) -> BadRequest:
    return BadRequest(f"Bot {bot_id} is not published.")


def refuse_all_but_owner(actor: Caller, bot: Bot) -> None:
    """Raises Forbidden for Admin: what a key does is asked in the owner's name, so only they hand out new ones."""
    if not bots_access.owns(actor, bot):
        raise Forbidden("Only the bot's owner may do this.")


def get_key(publication: Publication, key_id: str) -> ApiKey:
    """A key of a publication that the caller may change. Raises Forbidden for any other id, as recorded."""
    key = ApiKey.objects.filter(publication=publication, pk=key_id).first()
    if key is None:
        raise Forbidden(f"API key {key_id} is not one of bot {publication.bot_id}.")
    key.publication = publication
    return key
