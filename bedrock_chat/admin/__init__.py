"""Console pages of the kernel."""

from bedrock_chat.admin import alerts, budgets, jobs, models, people, workers

__all__ = ["alerts", "budgets", "jobs", "models", "people", "workers"]
