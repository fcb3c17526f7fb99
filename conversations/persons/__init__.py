"""A person's conversations: forgotten, or as files."""
