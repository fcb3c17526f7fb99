"""Search: words that are indexed, found, corrected and shown, of documents that somebody may see.

It knows nothing of what is searched. An app to the right indexes groups of documents (a conversation: its title and its
messages) under scopes (its owner), and searches within the scopes that a caller may see.
"""
