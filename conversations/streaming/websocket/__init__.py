"""`/ws`: the socket that existing frontends speak."""
