"""What the web process and the worker share: threads, the heartbeat, their end."""
