"""How far sources, documents and editions are, and whose fault a failure is, as their rows have it."""

from django.db import models


class SourceState(models.TextChoices):
    """WAITING: not looked at in this sync. LISTED: its documents are known. FAILED: it yielded nothing."""

    WAITING = "waiting"
    LISTED = "listed"
    FAILED = "failed"


class DocumentState(models.TextChoices):
    """WAITING: to be fetched and read. READ: its text is kept and is to be cut and embedded. READY: it can be found.

    SKIPPED: it is no document of its own, such as a page that is read for its links alone. REMOVED: it waits for its
    removal, and nobody finds it.
    """

    WAITING = "waiting"
    READ = "read"
    READY = "ready"
    FAILED = "failed"
    SKIPPED = "skipped"
    REMOVED = "removed"


class EditionState(models.TextChoices):
    """MAKING: out of sight. LIVE: whole, and found where its index serves. REMOVED: waits for its removal."""

    MAKING = "making"
    LIVE = "live"
    REMOVED = "removed"


class Blame(models.TextChoices):
    """Whose fault it is that something failed, the one who hears of it first in front.

    OPERATOR: this server, its disks, or the models and buckets that it was given. OWNER: what the bot names or may
    spend. SOURCE: the document, or the server that it is on.
    """

    OPERATOR = "operator"
    OWNER = "owner"
    SOURCE = "source"
