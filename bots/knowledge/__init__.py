"""What bots know: their documents, read, cut into chunks, and found again."""
