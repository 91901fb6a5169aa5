"""Reads on where a caller has left, for what the provider will bill."""
