"""The indexes of a bot: one of each embeddings model. While another one is made, the one before it serves."""

from django.db.models import Exists, OuterRef, Q, Subquery

from bots.knowledge import deleting
from bots.knowledge.configuration import KnowledgeSettings
from bots.knowledge.models import Document, Edition, Knowledge, KnowledgeIndex, SourceKind
from bots.knowledge.states import DocumentState, EditionState


def prepare(knowledge: Knowledge, settings: KnowledgeSettings) -> KnowledgeIndex:
    """In the transaction that plans a sync: the index that it writes. Sets what the locked row names, unsaved.

    The first index of a bot serves at once, document by document.
    """
    serving, making = knowledge.serving, knowledge.making
    if serving is not None and serving.model == settings.model:
        if making is not None:
            _give_up(knowledge, making)
        knowledge.making = None
        return serving
    if making is not None and making.model == settings.model:
        return making
    index = KnowledgeIndex.objects.create(knowledge=knowledge, model=settings.model)
    if serving is None:
        knowledge.serving = index
    else:
        knowledge.making = index
    return index


def _give_up(knowledge: Knowledge, making: KnowledgeIndex) -> None:
    """The index that was being made is not wanted any more. Texts that were read for it alone are read once more: the
    job that removes it removes them, too.
    """
    editions = Edition.objects.filter(document=OuterRef("pk")).exclude(state=EditionState.REMOVED)
    documents = Document.objects.filter(Exists(editions.filter(index=making)), knowledge=knowledge)
    documents.update(etag="", last_modified="", digest="", hint="")
    deleting.hide_editions(knowledge.pk, Q(index=making))


def remake(knowledge: Knowledge, index: KnowledgeIndex, settings: KnowledgeSettings) -> None:
    """In the same transaction: documents that are not found in the index as they shall be cut, or have a newer text
    there that a sync has left in the making, are made so from their kept texts. One statement.
    """
    live = Edition.objects.filter(
        document=OuterRef("pk"), index=index, state=EditionState.LIVE, cut=settings.cut.digest
    )
    ready = Document.objects.filter(knowledge=knowledge, state=DocumentState.READY)
    making = Edition.objects.filter(document=OuterRef("pk"), index=index, state=EditionState.MAKING)
    ready.filter(~Exists(live) | Exists(making)).update(state=DocumentState.READ)


def reread(knowledge: Knowledge, settings: KnowledgeSettings) -> None:
    """In the same transaction: objects of S3 whose pages without text were read otherwise are fetched again, though the
    folder's list shows them unchanged. One statement. All else is fetched again anyway (`attempts`).
    """
    editions = Edition.objects.filter(document=OuterRef("pk")).exclude(state=EditionState.REMOVED)
    read_by = Subquery(editions.order_by("-pk").values("parsing_model")[:1])
    objects = Document.objects.filter(knowledge=knowledge, source__kind=SourceKind.S3).exclude(hint="")
    objects.annotate(read_by=read_by).exclude(read_by=settings.parsing_model).update(hint="")


def switch(knowledge: Knowledge) -> None:
    """In the transaction that ends a sync: the index that was made serves from now on. Sets the locked row, unsaved."""
    if knowledge.making_id is not None:
        knowledge.serving_id, knowledge.making_id = knowledge.making_id, None
