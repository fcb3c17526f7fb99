"""A turn that is over, told from what is stored."""

from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.wire.errors import Conflict
from conversations import access
from conversations.models import Conversation, Message, Outcome, Role
from conversations.streaming.events import Piece, failed, replayed, started


def told_anew(actor: Caller, conversation: Conversation, question: Message) -> list[Piece]:
    """The whole sequence of the question's newest turn, as a listener would have heard it."""
    newest = {"parent": question, "role": Role.ASSISTANT, "attempt": question.attempt}
    row = Message.objects.filter(**newest).order_by("-pk").first()
    if question.outcome == Outcome.FAILED or row is None:
        ids = {"conversationId": conversation.external_id, "messageId": question.external_id}
        none = Conflict("This message was not answered; send it again.", extra=ids)
        return [started(conversation.external_id, question.external_id, None), failed(none)]
    answer = access.stored_answer(conversation, question.external_id, row)
    calls = recording.calls_of_newest_turn(actor, conversation.external_id, question.external_id)
    return list(replayed(answer, calls))
