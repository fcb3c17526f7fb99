"""A published API in OpenAI's language: chat completions, which keep nothing, and the list of models."""
