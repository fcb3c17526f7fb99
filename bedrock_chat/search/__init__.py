"""Search: indexes the words of documents, finds and corrects them, and shows the hits that a caller may see.

It does not know what the documents are. An app to the right indexes groups of documents (a conversation: its title and
its messages) under scopes (its owner), and searches within the scopes that a caller may see.
"""
