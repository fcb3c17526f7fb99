"""Connections, column types and the statements of the hot path."""
