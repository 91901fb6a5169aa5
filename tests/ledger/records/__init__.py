"""Single attempts, and lines that are kept apart."""
