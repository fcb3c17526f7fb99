"""Durable jobs: work that outlives the request and the process that asked for it. The row is the truth."""
