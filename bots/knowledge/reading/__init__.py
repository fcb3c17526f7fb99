"""Reading documents of every supported type, in child processes. Imports neither Django nor the network."""
