"""What operators do with the models: set who may use them and what they cost, and try one out."""
