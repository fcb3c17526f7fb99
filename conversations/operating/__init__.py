"""What operators do with conversations: cost and metadata, a look at what was said, people's feedback, exports."""
