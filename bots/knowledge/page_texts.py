"""Pages of a document without text are read by the bot's parsing model, within its sync: reserved, paid, kept."""

from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import Any, Final

from django.conf import settings

from bedrock_chat.bedrock.faults import Throttled
from bedrock_chat.ledger import embedding_calls, recording
from bedrock_chat.ledger.budgets import expiring
from bedrock_chat.ledger.embedding_calls import NoRoom
from bedrock_chat.process.interruption import Interrupted
from bots.knowledge import embedding, faults, parsing
from bots.knowledge.lanes import Errand
from bots.knowledge.models import Document, DocumentState, PageText
from bots.knowledge.parsing import NoParsingModel, Parsed
from bots.knowledge.reading import readers
from bots.knowledge.reading.pages import Reading, Unreadable
from bots.knowledge.slices import Bill, Slice

SENTENCE: Final = "Its pages hold no text."
FAULT: Final = "its pages could not be read because of a fault of this server."


def complete(slice_: Slice, document: Document, path: str, reading: Reading) -> Generator[Errand, Any, Reading]:
    """The reading with its pages that the model could read, to the document's end.

    What is paid by then is kept, so whoever begins again goes on there. Raises Interrupted where the sync ends, waits
    or works for what nobody wants any more, and Unreadable where the file cannot be drawn.
    """
    try:
        model = parsing.model_of(slice_.settings.parsing_model)
    except NoParsingModel as none:
        return _noted(reading, none.sentence)
    known = dict(PageText.objects.filter(document=document).values_list("digest", "text"))
    while True:
        if slice_.gives_way or slice_.has_ended or slice_.interruption.requested or not slice_.has_money():
            raise Interrupted
        wanted = parsing.estimate(model, min(parsing.PAGES_AT_ONCE, len(reading.empty_pages)))
        try:
            reservation = embedding_calls.reserve_pages(slice_.payer, wanted, bot_id=slice_.bot_id)
        except NoRoom as full:
            slice_.end_sync(full.sentence, retry_at=full.until)
            raise Interrupted from None
        with expiring.kept(reservation.pk if reservation else None):
            bill = slice_.owe(reservation)
            parsed: Parsed = yield partial(
                _parse,
                bill,
                path,
                reading,
                model,
                actor=slice_.payer,
                bot_id=slice_.bot_id,
                known=dict(known),
                readers=readers.shared(settings.KNOWLEDGE_READERS),
                interruption=slice_.interruption,
                most_characters=settings.KNOWLEDGE_MAX_CHARACTERS,
            )
        with slice_.writing():
            _keep(document, parsed)
            slice_.pay([bill])
            slice_.moved()
        for call in parsed.calls:
            recording.count_spending(call)
        known |= parsed.texts
        if isinstance(parsed.fault, Throttled):
            embedding.wait_for_model(slice_, parsed.fault, model.display_name)
            raise Interrupted
        if parsed.is_whole or parsed.fault is not None:
            return parsed.reading


def _parse(bill: Bill, *args: Any, **options: Any) -> Parsed:
    """On a thread: `parsing.parse`. Raises Unreadable also for a fault of this server."""
    try:
        parsed = parsing.parse(*args, **options)
    except Unreadable:
        raise
    except Exception as error:
        faults.log(bill.knowledge, error)
        raise Unreadable(FAULT) from error
    bill.calls += parsed.calls
    return parsed


def sentence_of(reading: Reading) -> str:
    """Why there is no text at all."""
    return reading.note or SENTENCE


def _keep(document: Document, parsed: Parsed) -> None:
    """Within `writing`: the new texts; and once all pages are known, only those that the document still shows. None of
    a document that is out of reach by now.
    """
    if not Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).exists():
        return
    rows = [PageText(document=document, digest=digest, text=text) for digest, text in parsed.texts.items()]
    PageText.objects.bulk_create(rows, ignore_conflicts=True)
    if parsed.is_whole:
        PageText.objects.filter(document=document).exclude(digest__in=parsed.digests).delete()


def _noted(reading: Reading, sentence: str) -> Reading:
    """The reading with one more sentence in its note."""
    return replace(reading, note=f"{reading.note.removesuffix('.')}; {sentence}" if reading.note else sentence)
