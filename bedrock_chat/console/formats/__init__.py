"""How the console writes times, for each language that it speaks."""
