"""What operators do with people: suspend and restore them, export what is stored of them, erase them."""
