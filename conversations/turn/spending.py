"""What a turn may cost, reserved of its caller's budgets when it is opened."""

from collections.abc import Iterable, Mapping
from datetime import datetime

from django.conf import settings

from bedrock_chat.bedrock import estimates, offering, request
from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.database.compiled_sql import Batch
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger.budgets import payers, reserving
from bedrock_chat.ledger.budgets.reserving import NO_WISH, Estimate, NoWish, Wish
from bots.chatting import ChattingBot
from conversations.content.blocks import StoredBlock, texts
from conversations.models import Conversation
from conversations.turn import round_history
from conversations.turn.types import ChatInput, Tools

DOCUMENT_TOKENS = 2_000
"""A guess for a document of an earlier message, which would have to be read from storage."""


def ask(
    batch: Batch,
    chat: ChatInput,
    conversation: Conversation,
    bot: ChattingBot | None,
    contents: Mapping[int, list[StoredBlock]],
    now: datetime,
    tools: Tools,
    *,
    actor: Caller,
) -> Wish | NoWish:
    """Asks for what the turn may cost, in the batch that stores its question. Nothing where nobody has a budget."""
    with_budgets = payers.with_budgets(payers.payers_of(actor, conversation.bot_id))
    if not with_budgets:
        return NO_WISH
    blocks = [block for message in contents.values() for block in message]
    if not chat.continue_generate:
        blocks += chat.content.blocks
    in_rounds = _characters_of_rounds(tools, chat.model)
    return reserving.begin(batch, with_budgets, estimate(chat, conversation.instruction, bot, blocks, in_rounds), now)


def _characters_of_rounds(tools: Tools, model: Model) -> int:
    """How many characters of rounds are sent: of earlier answers only the newest, of this one all."""
    earlier = [round_history.of_log(log, has_reasoning=True) for log in tools.get("logs", {}).values()]
    kept = round_history.newest(earlier, settings.HISTORY_TOOL_CHARS)
    own = round_history.of_rounds(list(tools.get("taken_over", ())), model)
    return sum(map(round_history.length_of, [*own, *(exchange for exchanges in kept for exchange in exchanges)]))


def estimate(
    chat: ChatInput, instruction: str, bot: ChattingBot | None, blocks: Iterable[StoredBlock], in_rounds: int = 0
) -> Estimate:
    """What one call may cost: the branch as input, and as much output as the request will allow.

    `in_rounds` are characters of what tools have been asked and have given.
    """
    blocks = list(blocks)
    chosen = bot.parameters if bot else request.NO_PARAMETERS
    tokens = sum(map(estimates.text_tokens, [instruction, *texts(blocks)])) + sum(map(_file_tokens, blocks))
    tokens += in_rounds // estimates.ASCII_PER_TOKEN
    thinks = chat.enable_reasoning and not chat.continue_generate
    most = request.most_output_tokens(chat.model, chosen, thinks=thinks)
    return reserving.estimate(chat.model, offering.route(chat.model), tokens, most)


def _file_tokens(block: StoredBlock) -> int:
    return {"image": estimates.IMAGE_TOKENS, "attachment": DOCUMENT_TOKENS}.get(block["contentType"], 0)


def refuse_used_up(model: Model, bot_id: str, *, actor: Caller) -> None:
    """Refuses a turn that will be opened later, if a budget is used up now. Raises BudgetUsedUp, and Unpriced."""
    with_budgets = payers.with_budgets(payers.payers_of(actor, bot_id))
    if with_budgets:
        reserving.refuse_used_up(with_budgets, reserving.estimate(model, offering.route(model), 0, 0))
