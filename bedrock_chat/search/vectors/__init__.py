"""Vectors: what a passage means, as numbers, and the search for what is nearest to a question.

An index is a number of the caller's (one bot's passages in one model), a group a number of the caller's (one reading of
a document), a key the number of a passage. **Every statement names its index**, and nothing here reads across two.
"""
