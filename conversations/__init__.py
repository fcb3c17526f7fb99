"""Conversations with a model: messages as a tree, turns, titles and the cost ledger."""
