"""Django's backend for PostgreSQL, which does not wait for ever."""
