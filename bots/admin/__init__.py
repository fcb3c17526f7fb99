"""Console pages of bots: operators manage bots, so they read all of one but its secrets."""

from bots.admin import pages, storage

__all__ = ["pages", "storage"]
