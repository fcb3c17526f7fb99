"""The cost ledger: writing a row for every call to a model."""

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from bedrock_chat import logs, statements
from bedrock_chat.bedrock import estimates, pricing
from bedrock_chat.bedrock.events import Closed
from bedrock_chat.bedrock.request import ModelRequest
from bedrock_chat.identity.caller import Caller
from bedrock_chat.identity.models import User
from bedrock_chat.ledger.models import ModelCall, Purpose
from bedrock_chat.wire.ids import new_id


def ledger_entry(
    actor: Caller,
    request: ModelRequest,
    *,
    purpose: Purpose,
    conversation_id: str,
    closed: Closed | None,
    latency_ms: int,
    message_id: str = "",
    bot_id: str | None = None,
    fault: str = "",
    stop_reason: str = "",
    said: Sequence[dict[str, Any]] | None = None,
) -> ModelCall:
    """The unsaved row of one call; without `closed` it did not come to its end.

    `said` are the Converse blocks that came: from them usage is estimated where Bedrock sent none, since it is billed
    all the same. None where nothing was generated, which costs nothing.
    """
    prices = pricing.prices(request.model, request.target, settings.MODEL_PRICES)
    usage = closed.usage if closed else None
    estimated = usage is None and said is not None
    if usage is None and said is not None:
        usage = estimates.usage(request, said)
    call = ModelCall(
        created_at=timezone.now(),
        purpose=purpose,
        user_id=actor.user_id,
        publication_id=actor.publication_id,
        key_id=actor.key_id,
        bot_id=bot_id,
        conversation_id=conversation_id,
        message_id=message_id,
        model=request.model.key,
        model_id=request.target.model_id,
        region=request.target.region,
        input_price=prices.input,
        output_price=prices.output,
        cache_read_price=prices.cache_read,
        cache_write_price=prices.cache_write,
        latency_ms=closed.latency_ms if closed else latency_ms,
        first_token_ms=closed.first_token_ms if closed else None,
        stop_reason=(closed.stop_reason if closed else stop_reason)[:64],
        fault=fault[:64],
        estimated=estimated,
    )
    if usage is not None:
        call.input_tokens = usage.input_tokens
        call.output_tokens = usage.output_tokens
        call.cache_read_tokens = usage.cache_read_tokens
        call.cache_write_tokens = usage.cache_write_tokens
        call.price = pricing.price(usage, prices)
    logs.bind(
        model=call.model,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
        price=None if call.price is None else float(call.price),
        fault=call.fault or None,
    )
    return call


def write_late(call: ModelCall) -> None:
    """Writes the row of a call whose conversation is gone. So may be its user, and then the row names nobody."""
    with transaction.atomic():
        user = User.objects.select_for_update().filter(pk=call.user_id).values_list("pk")
        if call.user_id is not None and not list(user):
            call.user_id = erased_id()
        statements.insert(call)


def erased_id() -> str:
    """Whom the calls of an erased user belong to: the sums stay true, and nobody is named."""
    return f"erased:{new_id()}"


def newest_call(actor: Caller, conversation_id: str, question_id: str) -> ModelCall | None:
    """The ledger's row of the turn that was last asked of a question."""
    caller = {"user_id": actor.user_id, "publication_id": actor.publication_id}
    where = {"conversation_id": conversation_id, "message_id": question_id, "purpose": Purpose.TURN}
    return ModelCall.objects.filter(**caller, **where).order_by("-pk").first()
