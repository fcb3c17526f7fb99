"""Texts of a sync get their vectors: reserved before, paid by the bot's owner, and nothing that was paid is lost."""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

from bedrock_chat.bedrock import embeddings, faults
from bedrock_chat.bedrock.embeddings import Embedded
from bedrock_chat.database.connections import database_now
from bedrock_chat.ledger import embedding_calls
from bedrock_chat.ledger.budgets import expiring
from bedrock_chat.ledger.embedding_calls import NoRoom
from bots.knowledge import faults as sentences
from bots.knowledge import measuring
from bots.knowledge.chunking import halves
from bots.knowledge.lanes import Errand
from bots.knowledge.models import Knowledge
from bots.knowledge.slices import Bill, Slice
from bots.knowledge.states import Blame

SECONDS: Final = 600.0
"""For the calls of one batch. A throttled one ends far earlier."""
MOST_HALVINGS: Final = 6
REFUSED_SECONDS: Final = 60.0
PATIENCE: Final = timedelta(hours=1)
"""How long a model may refuse every call before the sync ends, and after which another one begins."""


@dataclass(slots=True)
class Piece:
    """A text, or a part of one that the model calls too long, with its vector once there is one."""

    text: str
    header: str = ""
    vector: Any = None

    @property
    def embedded(self) -> str:
        """What the model reads."""
        return f"{self.header}\n\n{self.text}" if self.header else self.text


@dataclass(slots=True)
class Paid:
    """What became of a batch. `pieces` has for each text its parts in order. `is_whole`: every piece has a vector.
    `refusal`: why the model cannot embed one of the texts at all.
    """

    pieces: list[list[Piece]]
    bills: list[Bill] = field(default_factory=list)
    refusal: str = ""

    @property
    def is_whole(self) -> bool:
        return not self.refusal and all(piece.vector is not None for parts in self.pieces for piece in parts)

    def write(self, slice_: Slice) -> None:
        """Within `writing`: the ledger's rows."""
        slice_.pay(self.bills)


def embed(slice_: Slice, texts: Sequence[tuple[str, str]]) -> Generator[Errand, Any, Paid]:
    """The vectors of some texts, each after its header. Where they do not all come, the slice or its sync ends."""
    paid = Paid([[Piece(text, header)] for header, text in texts])
    for _ in range(MOST_HALVINGS + 1):
        open_pieces = [piece for parts in paid.pieces for piece in parts if piece.vector is None]
        for start in range(0, len(open_pieces), embeddings.MOST_BATCH):
            batch = open_pieces[start : start + embeddings.MOST_BATCH]
            embedded = yield from _embed_batch(slice_, paid, batch)
            if embedded is None or not embedded.is_whole:
                return paid
        if not _halve(paid):
            return paid
    paid.refusal = "A part of the text is too long for the embeddings model, however it is cut."
    return paid


def _embed_batch(slice_: Slice, paid: Paid, batch: Sequence[Piece]) -> Generator[Errand, Any, Embedded | None]:
    """Embeds at most MOST_BATCH pieces in place. None where no call was made."""
    texts = [piece.embedded for piece in batch]
    if not slice_.has_money() or slice_.interruption.requested:
        return None
    try:
        reservation = embedding_calls.reserve(slice_.payer, slice_.model, texts, bot_id=slice_.bot_id)
    except NoRoom as full:
        slice_.end_sync(full.sentence, retry_at=full.until)
        return None
    embedded: Embedded
    with slice_.promising(texts), expiring.kept(reservation.pk if reservation else None):
        bill = slice_.owe(reservation)
        paid.bills.append(bill)
        embedded, vectors = yield partial(_call, slice_, bill, texts)
    for piece, vector in zip(batch, vectors, strict=True):
        piece.vector = vector
    if embedded.fault is not None:
        _heed(slice_, paid, embedded.fault)
    return embedded


def _call(slice_: Slice, bill: Bill, texts: Sequence[str]) -> tuple[Embedded, list[Any]]:
    """On a thread: the calls, and their vectors as they are stored. Nothing goes wrong before they are on the bill."""
    from bedrock_chat.search.vectors import quantising  # noqa: PLC0415  numpy, which few processes need

    deadline = time.monotonic() + SECONDS
    with measuring.measured("embed"):
        embedded = embeddings.embed_documents(slice_.model, texts, interruption=slice_.interruption, deadline=deadline)
    call = embedding_calls.build(slice_.payer, slice_.model, embedded, bot_id=slice_.bot_id)
    bill.calls += [] if call is None else [call]
    quantised = iter(quantising.quantise([vector for vector in embedded.vectors if vector is not None]))
    return embedded, [None if vector is None else next(quantised) for vector in embedded.vectors]


def _halve(paid: Paid) -> bool:
    """Halves what has no vector after calls without a fault: it is too long. Returns whether there was anything."""
    is_any = False
    for parts in paid.pieces:
        for place in reversed(range(len(parts))):
            if parts[place].vector is None:
                is_any = True
                piece = parts[place]
                if len(piece.text) < 2:
                    continue
                parts[place : place + 1] = [Piece(half, piece.header) for half in halves(piece.text)]
    return is_any


def _heed(slice_: Slice, paid: Paid, fault: faults.ModelFault) -> None:
    """What a fault means for the slice: for the text, for the sync, or that it has to wait."""
    model = slice_.model
    if isinstance(fault, faults.AccessDenied | faults.UnknownModel):
        sentence = f"{sentences.NO_ACCESS} {model.display_name} ({model.model_id}) in {model.region}."
        slice_.end_sync(sentence, blame=Blame.OPERATOR)
    elif isinstance(fault, faults.Invalid):
        paid.refusal = f"{model.display_name} refused the text."
    else:
        wait_for_model(slice_, fault)


def wait_for_model(slice_: Slice, fault: faults.ModelFault, name: str = "") -> None:
    """The slice gives up its turn. After an hour without a success the sync ends, and another one begins in an hour."""
    now = database_now()
    row = Knowledge.objects.filter(pk=slice_.pk).values_list("refused_since", flat=True).first()
    since = row or now
    name = name or slice_.model.display_name
    if now - since >= PATIENCE:
        sentence = f"{name} {sentences.REFUSED_FOR_LONG} ({fault.code})."
        slice_.end_sync(sentence, blame=Blame.OPERATOR, retry_at=now + PATIENCE)
        return
    seconds = max(REFUSED_SECONDS, min(fault.retry_after or 0.0, PATIENCE.total_seconds()))
    slice_.give_up_turn(seconds, f"{name} refuses calls for now ({fault.code}); it is asked again in a minute.")
    with slice_.writing():
        Knowledge.objects.filter(pk=slice_.pk, refused_since__isnull=True).update(refused_since=now)
