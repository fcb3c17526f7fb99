"""How this process waits for others: deadlines, and dependencies that may be away."""
