"""Processes of tests that begin as copies of one that has imported everything: a start without its second of CPU."""
