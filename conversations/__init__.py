"""Conversations with a model: messages as a tree, turns and titles."""
