"""Secrets that are stored: encrypted with keys that the database does not hold."""
