"""Calls of tools that must not be carried out twice: which calls are the same, and what became of each."""
