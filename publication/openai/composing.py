"""What a model is sent for a chat completion: the client's history, under what the bot's owner has set."""

from collections.abc import Sequence
from dataclasses import replace

from bedrock_chat.bedrock import grounding, offering, request
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.request import Parameters
from bedrock_chat.bedrock.shapes import ConverseMessage
from bedrock_chat.bedrock.tools import ToolSpec
from bedrock_chat.identity.caller import Caller
from bedrock_chat.wire.errors import BadRequest, NotFound
from bots import configuration
from bots.chatting import ChattingBot
from bots.tools import prompting
from bots.tools.offered import Offered
from bots.tools.prompting import Passages
from conversations.content import converse
from conversations.content.files import FileReader
from conversations.turn import asking, context_window
from conversations.turn.asking import Prompt
from publication.openai.messages import USER, History
from publication.openai.requests import ChatRequest

FIRST = "default"
"""The name of the first active model, whichever it is."""
TOO_LONG = "context_length_exceeded"


def models_of(bot: ChattingBot, *, actor: Caller) -> list[Model]:
    """The models that a bot answers with here, the first one first."""
    return [model for model in offering.offered(actor) if configuration.is_active(bot.configuration, model)]


def choose_model(name: str | None, bot: ChattingBot, *, actor: Caller) -> Model:
    """The model of that name; the first where none is named. Raises NotFound."""
    models = models_of(bot, actor=actor)
    named = models[:1] if name in (None, FIRST) else [model for model in models if model.key == name]
    if not named:
        sentence = f"The model `{name or FIRST}` does not exist here; GET …/v1/models lists those that do."
        raise NotFound(sentence, extra={"code": "model_not_found", "param": "model"})
    return named[0]


def compose(
    chat: ChatRequest,
    bot: ChattingBot,
    model: Model,
    tools: Offered,
    specs: Sequence[ToolSpec] = (),
    passages: Passages = prompting.NONE,
) -> Prompt:
    """The request to the model, with `specs` of its tools, and `passages` of the bot's knowledge that it is told.

    Raises BadRequest for what the model does not take.
    """
    _refuse_parameters(chat.parameters, model)
    history = chat.history
    blocks = [block for utterance in history.utterances for block in utterance.content.blocks]
    instructions = "\n".join((bot.instruction, *history.instructions))
    try:
        context_window.refuse_branch_that_cannot_fit(model, instructions, blocks)
    except BadRequest as refusal:
        refusal.extra = {"code": TOO_LONG, "param": "messages"}
        raise
    model_request = request.compose(
        model,
        offering.route(model),
        grounding.with_sources(_messages(history), passages.sources),
        instruction=asking.instruction_of(bot.instruction, bot, tools, passages.instruction),
        tools=specs,
        further_instructions=history.instructions,
        parameters=parameters_of(chat.parameters, bot.parameters, model),
        prompt_caching=bot.prompt_caching,
        guardrail=bot.guardrail,
    )
    return Prompt(model_request, FileReader({}))


def _messages(history: History) -> Sequence[ConverseMessage]:
    read = history.files.get
    return [
        {"role": "user", "content": converse.question_to_converse(utterance.content.blocks, read)}
        if utterance.role == USER
        else {"role": "assistant", "content": converse.answer_to_converse(utterance.content.blocks)}
        for utterance in history.utterances
    ]


def parameters_of(sent: Parameters, own: Parameters, model: Model) -> Parameters:
    """The bot's own parameters with those that the client sent in their place. The most tokens can only be fewer.

    A client that sends `top_p` alone, to a model that takes one of it and the temperature, means that one.
    """
    most = own.max_tokens or model.defaults.max_tokens
    is_top_p_alone = sent.top_p is not None and sent.temperature is None
    takes_one = "temperature-or-topP" in model.restrictions
    temperature = own.temperature if sent.temperature is None else sent.temperature
    return replace(
        own,
        max_tokens=own.max_tokens if sent.max_tokens is None else min(sent.max_tokens, most),
        temperature=None if is_top_p_alone and takes_one else temperature,
        top_p=own.top_p if sent.top_p is None else sent.top_p,
        stop_sequences=own.stop_sequences if sent.stop_sequences is None else sent.stop_sequences,
    )


def _refuse_parameters(sent: Parameters, model: Model) -> None:
    """Raises BadRequest for values that the model would refuse. A parameter that it does not have is left out."""
    for name, wire_name, value, is_taken in (
        ("temperature", "temperature", sent.temperature, model.temperature),
        ("top_p", "topP", sent.top_p, model.top_p),
    ):
        if value is not None and is_taken and not (values := model.ranges[wire_name]).holds(value):
            raise _refused(name, f"{model.display_name} takes {values.lowest} to {values.highest}.")
    if sent.stop_sequences:
        most = model.most_stop_sequences if model.stop_sequences else 0
        if most is not None and len(sent.stop_sequences) > most:
            raise _refused("stop", f"{model.display_name} takes {most} at most.")


def _refused(name: str, sentence: str) -> BadRequest:
    return BadRequest(f"{name}: {sentence}", extra={"param": name})
