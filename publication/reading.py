"""Reading a publication, for the bot's owner or Admin."""

from bedrock_chat.identity.caller import Caller
from publication import access
from publication.models import ApiKey, Publication


def publication(bot_id: str, *, actor: Caller) -> tuple[Publication, list[str]]:
    """A bot's publication and the ids of its keys, the oldest first. Raises what `access` raises."""
    publication = access.get_publication(actor, bot_id)
    key_ids = ApiKey.objects.filter(publication=publication).order_by("created_at", "pk").values_list("pk", flat=True)
    return publication, list(key_ids)
