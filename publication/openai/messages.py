"""Reads the messages of a chat completion: the instructions among them, and the history, whose roles alternate.

What one message may hold is what one message of the main API may (`conversations.content.parsing`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from rest_framework.exceptions import ValidationError

from conversations.content import parsing
from conversations.content.blocks import Content, texts
from conversations.content.parsing import Refused
from conversations.turn.capacity import MOST_MESSAGES

Json = dict[str, Any]

USER: Final = "user"
ASSISTANT: Final = "assistant"
INSTRUCTING: Final = ("system", "developer")
TOOLS: Final = ("tool_calls", "function_call")
_DATA: Final = re.compile(r"data:([^,;]*)((?:;[^,;]*)*),", re.IGNORECASE)
LONGEST_HEAD: Final = 200
"""Characters of a data URL before its data."""


@dataclass(frozen=True, slots=True)
class Utterance:
    """What one side says before the other one does."""

    role: Literal["user", "assistant"]
    content: Content


@dataclass(frozen=True, slots=True)
class History:
    """What a model is to go on from. It begins and ends with the user. `instructions` are those of the client."""

    instructions: tuple[str, ...]
    utterances: tuple[Utterance, ...]

    @property
    def files(self) -> dict[str, bytes]:
        """SHA-256 → bytes."""
        return {sha256: body for utterance in self.utterances for sha256, body in utterance.content.files.items()}

    @property
    def question(self) -> str:
        """The text of what the user said last."""
        return "\n\n".join(texts(self.utterances[-1].content.blocks))

    @property
    def question_before(self) -> str:
        """The text of what the user said before that, or nothing."""
        earlier = [utterance for utterance in self.utterances[:-1] if utterance.role == USER]
        return "\n\n".join(texts(earlier[-1].content.blocks)) if earlier else ""


def parse(messages: Any) -> History:
    """Validates the messages. Raises DRF's ValidationError with the path of the first fault: clients are told no other.

    Texts of `system` and `developer` are instructions, wherever they stand. Neighbours of one role are joined.
    """
    if not isinstance(messages, list):
        raise ValidationError(["Expected a list of messages."])
    if len(messages) > MOST_MESSAGES:
        raise ValidationError([f"There are at most {MOST_MESSAGES:,} messages."])
    instructions: list[str] = []
    utterances: list[Utterance] = []
    for index, message in enumerate(messages):
        try:
            role, content = _parse_message(message)
        except ValidationError as error:
            raise ValidationError({str(index): error.detail}) from None
        if role in INSTRUCTING:
            instructions += [text for text in texts(content.blocks) if text.strip()]
        elif utterances and utterances[-1].role == role:
            utterances[-1] = Utterance(utterances[-1].role, _joined(utterances[-1].content, content))
        else:
            utterances.append(Utterance(USER if role == USER else ASSISTANT, content))
    _refuse_order(utterances)
    return History(tuple(instructions), tuple(utterances))


def _refuse_order(utterances: list[Utterance]) -> None:
    """Raises ValidationError for a history that no model takes."""
    if not utterances or utterances[-1].role != USER:
        raise ValidationError(["The last message must be of the role user."])
    if utterances[0].role != USER:
        raise ValidationError(["The first message beside system and developer must be of the role user."])
    if not all(utterance.content.says_something() for utterance in utterances if utterance.role == USER):
        raise ValidationError(["A message of the role user needs text or an image."])


def _joined(first: Content, second: Content) -> Content:
    return Content([*first.blocks, *second.blocks], {**first.files, **second.files})


def _parse_message(message: Any) -> tuple[str, Content]:
    """The role and the content of a message. Raises ValidationError."""
    if not isinstance(message, dict):
        raise ValidationError(["Expected a message (an object)."])
    role, content = message.get("role"), message.get("content")
    if role not in (*INSTRUCTING, USER, ASSISTANT):
        hint = " Tools are not offered here." if role in ("tool", "function") else ""
        raise Refused("role", f"Expected one of system, developer, user, assistant.{hint}")
    if named := next((name for name in TOOLS if message.get(name)), None):
        raise Refused(named, "Tools are not offered here.")
    if content is None and role == ASSISTANT:
        content = message.get("refusal") or ""
    if isinstance(content, str):
        parts: list[Any] = [{"type": "text", "text": content}] if content else []
    elif isinstance(content, list):
        parts = content
    else:
        raise Refused("content", "Expected a text or a list of parts.")
    if len(parts) > parsing.MAX_BLOCKS:
        raise Refused("content", f"A message holds at most {parsing.MAX_BLOCKS} parts.")
    return role, _parse_parts(parts, role)


def _parse_parts(parts: list[Any], role: str) -> Content:
    """Raises ValidationError, which names the parts by OpenAI's fields."""
    blocks: list[Json] = []
    for index, part in enumerate(parts):
        try:
            blocks.append(_block_of(part, role))
        except ValidationError as error:
            raise ValidationError({"content": {str(index): error.detail}}) from None
    try:
        return parsing.parse(blocks)
    except ValidationError as error:
        raise ValidationError({"content": _in_fields_of_parts(error.detail, parts)}) from None


def _block_of(part: Any, role: str) -> Json:
    """A part as a content block of the main API, not validated yet. Raises Refused."""
    if not isinstance(part, dict):
        raise ValidationError(["Expected a part (an object)."])
    match part.get("type"):
        case "text":
            return {"content_type": "text", "body": part.get("text")}
        case "refusal" if role == ASSISTANT:
            return {"content_type": "text", "body": part.get("refusal")}
        case "image_url" if role == USER:
            return _image_of(part)
    expected = "text, image_url" if role == USER else "text"
    raise Refused("type", f"Expected one of {expected} in a message of the role {role}.")


def _image_of(part: Json) -> Json:
    """An image as a content block. Nothing is fetched: only the bytes of a data URL are taken. Raises Refused."""
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, dict) else None
    if not isinstance(url, str):
        raise Refused("image_url", "Expected an object with a url.")
    if (head := _DATA.match(url, 0, LONGEST_HEAD)) is None:
        raise Refused(
            "image_url.url",
            "Images are not fetched from addresses here; send the image itself as a data URL "
            "(data:image/png;base64,…).",
        )
    if not head[2].lower().endswith(";base64"):
        raise Refused("image_url.url", "Expected a data URL in base64.")
    return {"content_type": "image", "media_type": head[1], "body": url[head.end() :]}


def _in_fields_of_parts(detail: Any, parts: list[Any]) -> Any:
    """What is wrong with content blocks, under the names that the parts' fields have."""
    if not isinstance(detail, Mapping):
        return detail
    fields = {"text": "text", "refusal": "refusal", "image_url": "image_url.url"}
    return {
        index: {fields[parts[int(index)]["type"]]: [sentence for sentences in inner.values() for sentence in sentences]}
        if isinstance(inner, Mapping)
        else inner
        for index, inner in detail.items()
    }
