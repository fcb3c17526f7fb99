"""Pages without text of a document that was just read: a model reads them, where the bot names one that may.

What it wrote of a page is kept by the page's picture, with the row of the ledger: so a document that is read again,
or that a slice has left, pays for no page twice.
"""

from collections.abc import Generator
from functools import partial
from typing import Any

from django.conf import settings

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.ledger import embedding_calls
from bedrock_chat.ledger.budgets import payers, reserving
from bedrock_chat.ledger.budgets.payers import payers_of
from bedrock_chat.ledger.budgets.refusals import BudgetExceeded, Unpriced
from bedrock_chat.ledger.budgets.reserving import Reserved
from bots.knowledge import parsing
from bots.knowledge.lanes import Errand
from bots.knowledge.models import ParsedPage
from bots.knowledge.parsing import NoParsingModel, Parsed
from bots.knowledge.reading import readers
from bots.knowledge.reading.pages import Reading
from bots.knowledge.slices import Slice


def fill(slice_: Slice, path: str, reading: Reading) -> Generator[Errand, Any, Reading | None]:
    """The reading with its empty pages filled, as far as the model could read them. None: the slice ends before.

    Raises Unreadable where the file cannot be drawn.
    """
    if not (reading.empty_pages and slice_.settings.parsing_model):
        return reading
    try:
        model = parsing.model_of(slice_.settings.parsing_model)
    except NoParsingModel:
        return reading  # its note says which pages hold no text
    while not slice_.is_over and slice_.has_money():
        pages = min(len(reading.empty_pages), parsing.PAGES_AT_ONCE)
        try:
            reservation = _reserve(slice_, model, pages)
        except Unpriced:
            return reading
        except BudgetExceeded as full:
            slice_.end_sync(f"The pages of a scan could not be read: {full.detail}")
            return None
        rows = ParsedPage.objects.filter(knowledge=slice_.pk, model=model.key)
        parsed: Parsed = yield partial(
            parsing.parse,
            path,
            reading,
            model,
            actor=slice_.payer,
            bot_id=slice_.bot_id,
            known=dict(rows.values_list("picture", "text")),
            readers=readers.shared(settings.KNOWLEDGE_READERS),
            interruption=slice_.interruption,
            most_characters=settings.KNOWLEDGE_MAX_CHARACTERS,
        )
        _write(slice_, model, parsed, reservation)
        if parsed.is_whole or parsed.fault is not None:
            return None if slice_.interruption.requested else parsed.reading
    return None


def _reserve(slice_: Slice, model: Model, pages: int) -> Reserved | None:
    """Raises BudgetExceeded and Unpriced."""
    with_budgets = payers.with_budgets(payers_of(slice_.payer, slice_.bot_id))
    return reserving.reserve_estimate(with_budgets, parsing.estimate(model, pages)) if with_budgets else None


def _write(slice_: Slice, model: Model, parsed: Parsed, reservation: Reserved | None) -> None:
    """The texts of pages with what they cost, in one transaction."""
    with slice_.writing():
        for place, call in enumerate(parsed.calls or [None]):
            embedding_calls.write(call, None if place else reservation)
        slice_.count(parsed.calls)
        ParsedPage.objects.bulk_create(
            [
                ParsedPage(knowledge_id=slice_.pk, model=model.key, picture=picture, text=text)
                for picture, text in parsed.texts.items()
            ],
            ignore_conflicts=True,
        )
