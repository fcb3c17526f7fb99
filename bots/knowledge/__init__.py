"""What a bot knows from documents: where they come from, how they are read and cut, and how passages are found."""
