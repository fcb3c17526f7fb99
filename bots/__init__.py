"""Custom bots: their versions, sharing, knowledge and tools."""
