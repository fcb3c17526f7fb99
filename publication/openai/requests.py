"""A request for a chat completion, validated."""

import re
from dataclasses import dataclass
from typing import Any, Final

from rest_framework.exceptions import ValidationError

from bedrock_chat.bedrock.request import Parameters
from bedrock_chat.wire.errors import BadRequest, field_errors
from bedrock_chat.wire.names import snake
from publication.openai.messages import History
from publication.openai.serializers import ChatCompletionInputSerializer

_NAMED: Final = re.compile(r"([\w.]+): ")
"""The name of a field, before what is wrong with it."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asks for. `parameters` has what it chose, and None for all else. `model` None: the bot's first."""

    history: History
    model: str | None
    parameters: Parameters
    stream: bool
    include_usage: bool
    user_label: str


_fields = ChatCompletionInputSerializer()
"""Kept, since it holds nothing of a request: for a new one DRF copies all fields, which takes longer than their use."""


def read(data: Any) -> ChatRequest:
    """A request body. Raises BadRequest, which names the field as OpenAI does."""
    try:
        valid: dict[str, Any] = _fields.run_validation({} if data is None else data)
    except ValidationError as error:
        raise _in_their_names(error) from None
    tokens = [most for name in ("max_tokens", "max_completion_tokens") if (most := valid[name]) is not None]
    parameters = Parameters(
        max_tokens=min(tokens) if tokens else None,
        temperature=valid["temperature"],
        top_p=valid["top_p"],
        stop_sequences=valid["stop"],
    )
    return ChatRequest(
        history=valid["messages"],
        model=valid["model"] or None,
        parameters=parameters,
        stream=bool(valid["stream"]),
        include_usage=bool(valid["stream_options"] and valid["stream_options"]["include_usage"]),
        user_label=valid["user"] or "",
    )


def _in_their_names(error: ValidationError) -> BadRequest:
    """The first fault, with the name of its field as the client spelled it."""
    fault = next(field_errors(error.detail))
    if (named := _NAMED.match(fault)) is None:
        return BadRequest(fault)
    name = ".".join(map(snake, named[1].split(".")))
    return BadRequest(f"{name}: {fault[named.end() :]}", extra={"param": name})
