"""Pages of a document without text are read by the bot's parsing model, within its sync: reserved, paid, kept."""

from collections.abc import Generator
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, Self

from django.conf import settings

from bedrock_chat.bedrock.catalog import Model
from bedrock_chat.bedrock.faults import Throttled
from bedrock_chat.ledger import embedding_calls, recording
from bedrock_chat.ledger.budgets import expiring
from bedrock_chat.ledger.budgets.reserving import Reserved
from bedrock_chat.ledger.embedding_calls import NoRoom
from bedrock_chat.process.interruption import Interrupted
from bedrock_chat.resilience.disk_space import is_of_disk
from bots.knowledge import embedding, faults, parsing
from bots.knowledge.lanes import Errand
from bots.knowledge.models import Document, PageText
from bots.knowledge.parsing import NoParsingModel, Parsed
from bots.knowledge.reading import readers
from bots.knowledge.reading.pages import Reading, Unreadable
from bots.knowledge.slices import Bill, Slice
from bots.knowledge.states import DocumentState

LONGEST_FAULT: Final = 64
SENTENCE: Final = "Its pages hold no text."
FAULT: Final = f"its pages could not be read {faults.OF_THIS_SERVER}"


@dataclass(slots=True)
class _Progress:
    """What is settled of a file's pages, as `parsing.parse` takes it: of earlier syncs their texts alone."""

    texts: dict[str, str] = field(default_factory=dict)
    drawn: dict[int, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Document, file: str, sync: int) -> Self:
        progress = cls()
        for row in PageText.objects.filter(document=document).iterator():
            is_of_now = row.sync == sync
            if not row.fault:
                progress.texts[row.digest] = row.text
            elif is_of_now:
                progress.failed[row.digest] = row.fault
            if row.file == file and (is_of_now or not row.fault):
                progress.drawn[row.page] = row.digest
        return progress

    def add(self, parsed: Parsed) -> None:
        self.texts |= parsed.texts
        self.drawn |= parsed.drawn
        self.failed |= parsed.failed


def complete(
    slice_: Slice, document: Document, path: str, file: str, reading: Reading
) -> Generator[Errand, Any, Reading]:
    """The reading with its pages that the model could read, to the document's end. `file` is the file's digest.

    What is paid by then is kept, so whoever begins again goes on there. Raises Interrupted where the sync ends, waits
    or works for what nobody wants any more and where the slice's time is over, and Unreadable where the file cannot be
    drawn.
    """
    try:
        model = parsing.model_of(slice_.settings.parsing_model)
    except NoParsingModel as none:
        return _noted(reading, none.sentence)
    progress = _Progress.of(document, file, slice_.sync)
    while True:
        if slice_.gives_way or slice_.has_ended or slice_.interruption.requested or not slice_.has_money():
            raise Interrupted
        reservation = _reserve(slice_, model, len(reading.empty_pages) - len(progress.drawn))
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
                known=dict(progress.texts),
                drawn=dict(progress.drawn),
                failed=dict(progress.failed),
                readers=readers.shared(settings.KNOWLEDGE_READERS),
                interruption=slice_.interruption,
                most_characters=settings.KNOWLEDGE_MAX_CHARACTERS,
                until=slice_.end,
            )
        progress.add(parsed)
        with slice_.writing():
            _keep(slice_, document, file, parsed, progress)
            slice_.pay([bill])
            if parsed.drawn:
                slice_.moved()
        for call in parsed.calls:
            recording.count_spending(call)
        if parsed.error is not None:
            raise _unreadable(parsed.error)
        if isinstance(parsed.fault, Throttled):
            embedding.wait_for_model(slice_, parsed.fault, model.display_name)
            raise Interrupted
        if parsed.is_whole or parsed.fault is not None:
            return parsed.reading
        if slice_.is_over:  # asked here, so that each slice settles some pages
            raise Interrupted


def _parse(bill: Bill, *arguments: Any, **options: Any) -> Parsed:
    """On a thread: `parsing.parse`, whose calls are on the bill then."""
    parsed = parsing.parse(*arguments, **options)
    bill.calls += parsed.calls
    return parsed


def _reserve(slice_: Slice, model: Model, pages: int) -> Reserved | None:
    """Sets aside what the next pages may cost. Raises Interrupted where nobody can pay for them: the sync ends."""
    if pages <= 0:
        return None
    wanted = parsing.estimate(model, min(parsing.PAGES_AT_ONCE, pages))
    try:
        return embedding_calls.reserve_pages(slice_.payer, wanted, bot_id=slice_.bot_id)
    except NoRoom as full:
        slice_.end_sync(full.sentence, retry_at=full.until)
        raise Interrupted from None


def _unreadable(error: Exception) -> Exception:
    """What is raised for an error of `parsing.parse`: Unreadable for a fault of this server, but for its disk's."""
    return (
        error
        if isinstance(error, Unreadable | Interrupted) or is_of_disk(error)
        else Unreadable(FAULT, is_of_server=True)
    )


def sentence_of(reading: Reading) -> str:
    """Why there is no text at all."""
    return reading.note or SENTENCE


def _keep(slice_: Slice, document: Document, file: str, parsed: Parsed, progress: _Progress) -> None:
    """Within `writing`: the pages that were settled; and once all are, only those of this file. None of a document
    that is out of reach by now.
    """
    if not Document.objects.filter(pk=document.pk).exclude(state=DocumentState.REMOVED).exists():
        return
    rows = [
        PageText(
            document=document,
            file=file,
            page=page,
            digest=digest,
            text=progress.texts.get(digest, ""),
            fault="" if digest in progress.texts else progress.failed[digest][:LONGEST_FAULT],
            sync=slice_.sync,
        )
        for page, digest in parsed.drawn.items()
    ]
    PageText.objects.bulk_create(
        rows,
        update_conflicts=True,
        unique_fields=["document", "file", "page"],
        update_fields=["digest", "text", "fault", "sync"],
    )
    if parsed.is_whole:
        PageText.objects.filter(document=document).exclude(file=file).delete()


def _noted(reading: Reading, sentence: str) -> Reading:
    """The reading with one more sentence in its note."""
    return replace(reading, note=f"{reading.note.removesuffix('.')}; {sentence}" if reading.note else sentence)
