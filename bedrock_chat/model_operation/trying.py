"""Trying a model out: one short call, as an operator, to see whether it answers and what it costs."""

import time
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from bedrock_chat.bedrock import catalog, events, offering, request, runtime
from bedrock_chat.bedrock.events import Closed
from bedrock_chat.bedrock.faults import ModelFault
from bedrock_chat.database.connections import release_connection
from bedrock_chat.identity import rates
from bedrock_chat.identity.caller import Caller
from bedrock_chat.ledger import recording
from bedrock_chat.ledger.budgets import expiring, payers, reserving
from bedrock_chat.ledger.models import Purpose
from bedrock_chat.process.interruption import Interruption
from bedrock_chat.resilience.deadlines import hang_up_after
from bedrock_chat.wire.errors import NotFound

QUESTION: Final = "Answer with the one word OK."
MOST_TOKENS: Final = 300
"""Enough for the word, also where a model thinks before it."""
LONGEST_WAIT: Final = 30.0
LONGEST_SHOWN: Final = 200
RATE: Final = "20/m"


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of the call. `sentence` says in plain words what was wrong; it is empty for a model that answered.

    `price` is USD, None where it is not known.
    """

    answer: str
    fault: str
    sentence: str
    latency_ms: int
    input_tokens: int
    output_tokens: int
    price: Decimal | None

    @property
    def succeeded(self) -> bool:
        return not self.fault


def try_out(key: str, *, actor: Caller) -> Trial:
    """Calls a model once. The call is in the ledger with a purpose of its own, and the operator pays for it.

    1. The request is composed, and what it may cost is reserved of the operator's budgets, if they have any.
    2. The model is called, without a connection to the database, and the call is ended after LONGEST_WAIT seconds.
    3. However it ended, its ledger row is written.

    It makes no difference whether the model is offered: who tries one out may want to know before. Raises NotFound for
    an unknown model, TooManyRequests, BudgetExceeded and Unpriced.
    """
    if key not in catalog.MODELS:
        raise NotFound(f"The catalogue has no model {key}.")
    rates.count("model trials", by=actor.account, rate=RATE, refusal="Too many trials of models; wait a minute.")
    model = catalog.MODELS[key]
    model_request = request.compose(
        model,
        offering.route(model),
        [{"role": "user", "content": [{"text": QUESTION}]}],
        parameters=request.Parameters(max_tokens=MOST_TOKENS),
        prompt_caching=False,
    )
    reservation = reserving.reserve(payers.payers_of(actor, None), model_request)
    release_connection()
    answer, closed, fault = events.AnswerBuilder(), None, None
    started = time.monotonic()
    interrupt = Interruption()
    with (
        expiring.kept(reservation.pk if reservation else None),
        hang_up_after(LONGEST_WAIT, interrupt.request),
    ):
        try:
            for event in runtime.call(model_request, stream=False, interrupt=interrupt):
                answer.feed(event)
                closed = event if isinstance(event, Closed) else closed
        except ModelFault as error:
            fault = error
    code, sentence = "", ""
    if fault is not None:
        code, sentence = fault.code, " ".join(filter(None, (str(fault.detail), fault.remedy)))
        if interrupt.requested:
            code, sentence = "TooLate", f"The model did not answer within {LONGEST_WAIT:.0f} seconds."
    call = recording.build_call(
        actor,
        model_request,
        purpose=Purpose.TRIAL,
        conversation_external_id="",
        closed=closed,
        latency_ms=int((time.monotonic() - started) * 1000),
        fault=code,
    )
    recording.insert_late([call], reservation)
    recording.log_spending([call])
    text = "".join(block["text"] for block in answer.blocks() if "text" in block).strip()
    return Trial(
        text[:LONGEST_SHOWN], code, sentence, call.latency_ms, call.input_tokens, call.output_tokens, call.price
    )
