"""Rules for the messages of any model: roles, texts, and what may stand last."""

from itertools import pairwise

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import invalid, refused_by_model
from bedrock_chat.bedrock.emulator.rules.blocks import Blocks, Body, addressed, thinking


def check(body: Body, model: Model | None) -> None:
    """Raises Refusal."""
    messages = body["messages"]
    _roles(messages)
    _content(messages)
    _final_message(body, model)
    if model is not None:
        _reasoning(messages, model)


def _roles(messages: Blocks) -> None:
    if messages[0]["role"] != "user":
        raise invalid(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    for before, message in pairwise(messages):
        if before["role"] == message["role"]:
            raise invalid(
                "A conversation must alternate between user and assistant roles. Make sure the conversation alternates "
                "between user and assistant roles and try again."
            )


def _content(messages: Blocks) -> None:
    """Which blocks each role may send, and their texts."""
    for index, message in enumerate(messages):
        content, at = message["content"], f"messages.{index}"
        if not content:
            raise invalid(
                f"The content field in the Message object at {at} is empty. Add a ContentBlock object to the content "
                "field and try again."
            )
        if message["role"] == "assistant":
            for kind in ("image", "document", "toolResult"):
                if any(kind in block for block in content):
                    raise invalid(f"{at}.content: {kind} blocks are allowed in user messages only.")
        elif any("toolUse" in block or "reasoningContent" in block for block in content):
            raise invalid(f"{at}.content: toolUse and reasoningContent blocks are allowed in assistant messages only.")
        _texts(content, f"{at}.content")


def _texts(content: Blocks, at: str) -> None:
    for index, block in enumerate(content):
        if "text" in block and not block["text"].strip():
            raise invalid(
                f"The text field in the ContentBlock object at {at}.{index} is blank. Add text to the text field, and "
                "try again."
            )
        if (marked := block.get("guardContent", {}).get("text")) is not None and not marked["text"].strip():
            raise invalid(
                f"The text field in the GuardrailConverseTextBlock object at {at}.{index}.guardContent is blank. Add "
                "text to the text field, and try again."
            )
        if result := block.get("toolResult"):
            if not result["content"] and result.get("status") == "error":
                raise invalid(
                    f"The content field at {at}.{index}.toolResult cannot be empty when status value is error."
                )
            _texts(result["content"], f"{at}.{index}.toolResult.content")


def _final_message(body: Body, model: Model | None) -> None:
    """An assistant's message may stand last if the model continues it, and may not end with white space."""
    last = body["messages"][-1]
    if last["role"] != "assistant":
        return
    thinks = thinking(body).get("type") in ("enabled", "adaptive")
    restrictions = model.restrictions if model else frozenset[str]()
    refuses = model is not None and model.prefill is False
    if refuses or "no-prefill" in restrictions or (thinks and "reasoning-no-prefill" in restrictions):
        raise refused_by_model(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    text = last["content"][-1].get("text", "")
    if text != text.rstrip():
        raise refused_by_model("messages: final assistant content cannot end with trailing whitespace")


def _reasoning(messages: Blocks, model: Model) -> None:
    """Reasoning goes back with its signature to a model that signs, and to no other, not even to the one that made it.

    Bedrock speaks of user messages and means the assistant's. Who made a signature is not verified here.
    """
    for at, reasoning in addressed(messages, "reasoningContent"):
        signature = (reasoning.get("reasoningText") or {}).get("signature")
        if model.reasoning.signed:
            if "reasoningText" in reasoning and not signature:
                raise refused_by_model(f"{at}.thinking.signature: Field required")
        elif signature:
            raise invalid(
                "This model doesn't support the reasoningContent.reasoningText.signature field. Remove "
                "reasoningContent.reasoningText.signature and try again."
            )
        else:
            raise invalid(
                "User messages cannot contain reasoning content. Please remove the reasoning content and try again."
            )
