"""Checks Bedrock's limits on a conversation and a model's own restrictions. Refuses in Bedrock's words, if known.

Sources: the service model's text on `Message`, the Bedrock User Guide, and error messages quoted in public reports.
Limits that differ from model to model are the catalogue's (`catalog.json`, which has their sources).
"""

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import invalid
from bedrock_chat.bedrock.emulator.rules import attachments, caching, messages, parameters, tools, window
from bedrock_chat.bedrock.emulator.rules.blocks import Body


def check(body: Body, model: Model | None, *, streaming: bool, size: int = 0) -> None:
    """Raises Refusal. `body` has passed `shapes.check`; `size` is that of its JSON in bytes.

    Without a model, only the limits of all models are checked.
    """
    if not body.get("messages"):
        raise invalid("The messages field is empty. Add a message to the messages field and try again.")
    messages.check(body, model)
    tools.check(body, model)
    if model is not None:
        parameters.check(body, model, streaming=streaming)
    attachments.check(body["messages"], model)
    if model is not None:
        caching.check(body, model)
        window.check(body, model, size=size)
