"""Sums over the ledger, made from it and nothing else, so that a report need not read every call."""
