"""Passages of documents, found by their words.

Unlike `search.finding`, which wants all words of a query and prefers what is new, a passage may answer a question with
two of its ten words, and its age says nothing. A scope is a number of the caller's (one bot's knowledge), a group too
(one reading of a document), a key is the number of a passage.
"""
