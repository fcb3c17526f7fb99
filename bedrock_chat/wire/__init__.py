"""How requests and responses look: errors, names, ids, JSON, and the document that describes them."""
