"""Bots published as rate-limited APIs with keys."""
