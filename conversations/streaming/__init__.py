"""Turns that clients listen to: the log of a running turn, and its two ways to a client, SSE and the WebSocket."""
