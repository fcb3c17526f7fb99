"""`manage.py prices`: what each model costs here, and who says so."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from bedrock_chat.bedrock import catalog, embedding_models, embeddings, offering, pricing
from bedrock_chat.bedrock.catalog import Model, PriceRow
from bedrock_chat.bedrock.embedding_models import EmbeddingModel
from bedrock_chat.bedrock.overrides import snapshot

HEAD = f"{'model':26} {'input':>12} {'output':>12} {'cache read':>12} {'cache write':>12}  source"


class Command(BaseCommand):
    help = (
        "Lists what every model of the catalogue and every embedding model costs where this server calls it, in USD "
        "per 1,000 tokens, with source and date. A model whose prices are not known is marked: its calls are unpriced, "
        "which is not free."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        self.stdout.write(HEAD)
        for model in catalog.MODELS.values():
            self.stdout.write(_line(model))
        for key in embedding_models.MODELS:
            self.stdout.write(_embedding_line(embeddings.model(key)))


def _line(model: Model) -> str:
    target = offering.route(model)
    listed, used = pricing.prices(model, target, {}), offering.price_row(model, target)
    prices = (used.input, used.output, used.cache_read, used.cache_write)
    columns = " ".join(f"{'-' if price is None else format(price, 'f'):>12}" for price in prices)
    return f"{model.key:26} {columns}  {_source(model, listed, used)}"


def _embedding_line(model: EmbeddingModel) -> str:
    used = offering.embedding_price_row(model).input
    source = f"{', '.join(model.price_sources)}, {model.priced_at}"
    source = f"MODEL_PRICES; else {source}" if used != model.list_price.input else source
    return f"{model.key:26} {used or 0:>12f} {'-':>12} {'-':>12} {'-':>12}  {source}"


def _source(model: Model, listed: PriceRow, used: PriceRow) -> str:
    source = f"{', '.join(model.price_sources)}, {model.priced_at}"
    if model.key in settings.MODEL_PRICES and used != listed:
        source = f"MODEL_PRICES; else {source}"
    if model.key in snapshot.current().prices:
        source = f"operator's override; else {source}"
    if used.input is None or used.output is None:
        return f"UNPRICED ({source})"
    return source
