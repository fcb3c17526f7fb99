"""Builds the JSON of chat completions and models. `serializers` only documents these shapes."""

from collections.abc import Iterable
from typing import Any, Final

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.events import StopReason
from bedrock_chat.ledger.recording import Spent
from publication.models import Publication

Wire = dict[str, Any]

COMPLETION: Final = "chat.completion"
CHUNK: Final = "chat.completion.chunk"

_FINISH_REASONS: Final = {
    StopReason.MAX_TOKENS: "length",
    "model_context_window_exceeded": "length",
    StopReason.GUARDRAIL_INTERVENED: "content_filter",
    "content_filtered": "content_filter",
}


def finish_reason(stop_reason: str) -> str:
    """OpenAI's word for why an answer ended. A reason that we do not know is an ordinary end."""
    return _FINISH_REASONS.get(stop_reason, "stop")


def head(kind: str, turn_id: str, created: int, model_key: str) -> Wire:
    """What every part of an answer begins with."""
    return {"id": f"chatcmpl-{turn_id}", "object": kind, "created": created, "model": model_key}


def completion(head: Wire, text: str, stop_reason: str, spent: Spent | None) -> Wire:
    """A chat completion, whole."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text, "refusal": None},
        "logprobs": None,
        "finish_reason": finish_reason(stop_reason),
    }
    return {**head, "choices": [choice], "usage": usage(spent)}


def usage(spent: Spent | None) -> Wire:
    """Tokens as OpenAI counts them: those of the prompt include what the prompt cache had or took."""
    if spent is None:
        spent = Spent(0, 0, 0, 0, None, estimated=True)
    prompt = spent.input_tokens + spent.cache_read_tokens + spent.cache_write_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": spent.output_tokens,
        "total_tokens": prompt + spent.output_tokens,
        "prompt_tokens_details": {"cached_tokens": spent.cache_read_tokens},
    }


def model_list(models: Iterable[Model], publication: Publication) -> Wire:
    """The models of an API; all came with it."""
    created = int(publication.created_at.timestamp())
    listed = [{"id": one.key, "object": "model", "created": created, "owned_by": one.provider} for one in models]
    return {"object": "list", "data": listed}
