"""A request that is too long for a model, or too large, in the words of the model's vendor."""

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.emulator.refusals import Refusal, invalid, refused_by_model
from bedrock_chat.bedrock.emulator.rules.blocks import Body
from bedrock_chat.bedrock.emulator.usage import input_tokens

TOO_LONG = "Input is too long for requested model."
COUNTING_CLAUDES = {
    "claude-v4.5-haiku",
    "claude-v4.5-opus",
    "claude-v4.6-opus",
    "claude-v4.6-sonnet",
    "claude-v4.7-opus",
}
"""Models of Anthropic that say how long a prompt is. Older ones say only that it is too long."""


def check(body: Body, model: Model, *, size: int) -> None:
    """Raises Refusal. `size` is that of the whole JSON in bytes; 0: it is not known."""
    if model.max_request_bytes is not None and size > model.max_request_bytes:
        # Claude says the same of a request that is too large and of one that is too long. Nova's words are not known.
        sentence = f"The request payload exceeds {model.max_request_bytes // 1_000_000} MB."
        raise invalid(TOO_LONG if model.family == "claude" else sentence)
    if model.context_window is not None and (count := input_tokens(body)) > model.context_window:
        raise _too_long(model, count, model.context_window)


def _too_long(model: Model, count: int, window: int) -> Refusal:
    """The refusal of a prompt of `count` tokens. Amazon's and Meta's models begin a stream before they refuse."""
    if model.key in COUNTING_CLAUDES:
        return refused_by_model(f"prompt is too long: {count} tokens > {window} maximum")
    match model.family:
        case "nova":
            sentence = (
                "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try "
                "again."
            )
            return refused_by_model(sentence, in_stream=True)
        case "llama":
            sentence = f"This model's maximum context length is {window} tokens. Please reduce the length of the prompt"
            return refused_by_model(sentence, in_stream=True)
        case "gpt-oss":
            sentence = f"Input length ({count}) exceeds model's maximum context length ({window})."
            return invalid(
                f'Mantle streaming error: ErrorEvent {{ error: APIError {{ message: "{sentence}" }} }}', in_stream=True
            )
    if model.key == "mistral-large-2":
        return Refusal(
            "ModelErrorException",
            f"The model returned the following errors: Prompt contains {count} tokens and 0 draft tokens, too large "
            f"for model with {window} maximum context length",
        )
    return invalid(TOO_LONG)
