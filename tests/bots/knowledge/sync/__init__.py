"""Syncs of what bots know."""
