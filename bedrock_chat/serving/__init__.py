"""The web process: from the network's bytes to a request of Django's, and back."""
