"""A turn: a question is stored, the model is asked, its answer is stored. `lifecycle` is where to begin."""
