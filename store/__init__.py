"""The bot store: listing, ranking and search of shared bots."""
