"""Django's backend for SQLite, in which one thread of a process writes at a time."""
