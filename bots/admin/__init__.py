"""Console pages of bots: operators manage bots, so they read all of one but its secrets."""

from bots.admin import pages, storage
from bots.knowledge import admin as knowledge

__all__ = ["knowledge", "pages", "storage"]
