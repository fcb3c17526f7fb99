"""Whether a conversation fits the context window of the model that is asked, and what to say if it does not."""

from collections.abc import Iterable

from bedrock_chat.bedrock import estimates, faults
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.wire.errors import BadRequest
from conversations.content.blocks import StoredBlock, document_format, texts
from conversations.turn.types import ChatInput

WAYS_OUT = (
    "Shorten the message or leave out documents, branch from an earlier message, begin a new conversation, or choose a "
    "model with a larger context window."
)


def refuse_what_cannot_fit(chat: ChatInput, instruction: str, blocks: Iterable[StoredBlock]) -> None:
    """Raises BadRequest if even the low estimate of the request is over the model's window.

    Only the documents of the message itself are counted. Earlier ones would have to be read from storage first.
    """
    window = chat.model.context_window
    if window is None:
        return
    all_texts = [instruction, *texts(blocks)]
    documents = [] if chat.continue_generate else _documents(chat)
    # A cheap upper bound of the estimate comes first: it is below the window for nearly all conversations.
    bound = sum(map(len, all_texts)) // estimates.LOW_OTHERS_PER_TOKEN
    bound += sum(len(body) for _, body in documents) // estimates.LOW_ASCII_PER_TOKEN
    if bound <= window:
        return
    low = sum(map(estimates.low_tokens, all_texts))
    low += sum(estimates.low_document_tokens(form, body) for form, body in documents)
    if low > window:
        raise BadRequest(_sentence(chat.model, f"at least {low:,} tokens, by a low estimate"))


def explained(error: faults.TooLong, model_request: ModelRequest) -> faults.TooLong:
    """Bedrock's refusal, with our own estimate, the limit, and what the user can do."""
    likely = estimates.usage(model_request, ()).input_tokens
    sentence = _sentence(model_request.model, f"about {likely:,} tokens, by our estimate")
    bedrock_sentence = str(error.detail).partition("Bedrock says: ")[2]
    return faults.TooLong(f"{sentence} Bedrock says: {bedrock_sentence}" if bedrock_sentence else sentence)


def _documents(chat: ChatInput) -> list[tuple[str, bytes]]:
    """Format and bytes of each attached document."""
    attachments = (block for block in chat.content.blocks if block["contentType"] == "attachment")
    return [(document_format(block["fileName"]) or "", chat.content.files[block["blob"]]) for block in attachments]


def _sentence(model: Model, size: str) -> str:
    limit = f"; {model.display_name} takes {model.context_window:,}" if model.context_window else ""
    return f"The conversation is too long for {model.display_name}: it holds {size}{limit}. {WAYS_OUT}"
