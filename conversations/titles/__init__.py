"""Titles of conversations, as a model proposes them."""
