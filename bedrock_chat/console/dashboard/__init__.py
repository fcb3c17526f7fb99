"""The home of the console: whether anything is wrong, and what the service does and costs."""
