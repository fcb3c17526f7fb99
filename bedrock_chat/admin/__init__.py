"""Console pages of the kernel."""

from bedrock_chat.admin import alerts, budgets, jobs, models, pages, people

__all__ = ["alerts", "budgets", "jobs", "models", "pages", "people"]
