"""The web process: it turns what the network sends into Django's requests, and Django's responses into ASGI's."""
