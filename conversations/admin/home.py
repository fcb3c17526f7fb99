"""What the console's home tells of turns."""

from collections.abc import Iterator

from django.http import HttpRequest

from bedrock_chat.console import writing
from bedrock_chat.console.addresses import of_list
from bedrock_chat.console.panels import Figure
from bedrock_chat.console.registry import now
from conversations.turn.measuring import RUNNING, figures


@now("turns", order=10, permission="conversations.view_conversation")
def turns(request: HttpRequest) -> Iterator[Figure]:
    """Turns of people that run in any process, by their leases. The newest conversations have them."""
    [running] = figures()[RUNNING].values()
    yield Figure("Turns running", writing.number(running), of_list("conversations.conversation"))
