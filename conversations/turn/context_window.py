"""Whether a conversation fits the context window of the model that is asked, and what to say if it does not."""

from collections.abc import Iterable

from bedrock_chat.bedrock import attachments, estimates, faults
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.wire.errors import BadRequest
from conversations.content.blocks import StoredBlock, document_format, texts
from conversations.turn.types import ChatInput

FAR_BELOW = 0.5  # of the window: a likely estimate is never so wrong
NEARLY_ALL = 0.6  # of the bytes that a request may have
WAYS_OUT = (
    "Shorten the message or leave out documents, branch from an earlier message, begin a new conversation, or choose a "
    "model with a larger context window."
)


def refuse_what_cannot_fit(chat: ChatInput, instruction: str, blocks: Iterable[StoredBlock]) -> None:
    """Raises BadRequest if even the low estimate of the request is over the model's window.

    Only the documents of the message itself are counted. Earlier ones would have to be read from storage first.
    """
    documents = [] if chat.continue_generate else _documents(chat)
    _refuse(chat.model, [instruction, *texts(blocks)], documents)


def refuse_branch_that_cannot_fit(model: Model, instruction: str, blocks: Iterable[StoredBlock]) -> None:
    """Raises BadRequest as above, where the branch is all that is sent, and its documents are not at hand."""
    _refuse(model, [instruction, *texts(blocks)], [])


def _refuse(model: Model, all_texts: list[str], documents: list[tuple[str, bytes]]) -> None:
    window = model.context_window
    if window is None:
        return
    # A cheap upper bound of the estimate comes first: it is below the window for nearly all conversations.
    bound = sum(map(len, all_texts)) // estimates.LOW_OTHERS_PER_TOKEN
    bound += sum(len(body) for _, body in documents) // estimates.LOW_ASCII_PER_TOKEN
    if bound <= window:
        return
    low = sum(map(estimates.low_tokens, all_texts))
    low += sum(estimates.low_document_tokens(form, body) for form, body in documents)
    if low > window:
        raise BadRequest(_sentence(model, f"at least {low:,} tokens, by a low estimate"))


def explained(error: faults.TooLong, model_request: ModelRequest) -> faults.TooLong:
    """Bedrock's refusal, with our own estimate, the limit, and what the user can do.

    Claude has the same words for too many tokens and for too many bytes. If the tokens are few, or the bytes nearly as
    many as a request may have, the files are named as the cause.
    """
    likely = estimates.usage(model_request, ()).input_tokens
    sentence = _sentence(model_request.model, f"about {likely:,} tokens, by our estimate")
    if error.may_be_too_large:
        sentence = _too_large(model_request, likely) or sentence
    bedrock_sentence = str(error.detail).partition("Bedrock says: ")[2]
    return faults.TooLong(f"{sentence} Bedrock says: {bedrock_sentence}" if bedrock_sentence else sentence)


def _too_large(model_request: ModelRequest, likely: int) -> str | None:
    """What to say where the request's files are too large together; None where they are not the cause."""
    model, files = model_request.model, attachments.of_messages(model_request.body["messages"])
    request_bytes = sum(file.request_bytes for file in files)
    few_tokens = model.context_window is None or likely < FAR_BELOW * model.context_window
    if not files or not (few_tokens or request_bytes > NEARLY_ALL * attachments.most_request_bytes(model)):
        return None
    size = attachments.megabytes(sum(file.size for file in files))
    return (
        f"The files of the conversation are too large together for {model.display_name}: {len(files)} of {size}, and "
        f"{attachments.megabytes(request_bytes)} in base64, as they are sent. Leave some of them out, send smaller "
        "versions, branch from an earlier message, or begin a new conversation."
    )


def _documents(chat: ChatInput) -> list[tuple[str, bytes]]:
    """Format and bytes of each attached document."""
    attachments = (block for block in chat.content.blocks if block["contentType"] == "attachment")
    return [(document_format(block["fileName"]) or "", chat.content.files[block["blob"]]) for block in attachments]


def _sentence(model: Model, size: str) -> str:
    limit = f"; {model.display_name} takes {model.context_window:,}" if model.context_window else ""
    return f"The conversation is too long for {model.display_name}: it holds {size}{limit}. {WAYS_OUT}"
