"""Bots as documents: exported, imported, and kept in a folder of files."""
