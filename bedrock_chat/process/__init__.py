"""What the web process and the worker share: threads, the heartbeat, limits, Redis, startup and shutdown."""
