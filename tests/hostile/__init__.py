"""Requests made to take the process away, and what each may cost."""
