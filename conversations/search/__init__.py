"""What is found in conversations, and how it gets into the index."""
