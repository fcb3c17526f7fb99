"""Budgets: who may still spend, counted for each call to a model."""
